"""The page on which a signed-in user allows an app to access memories (the authorization endpoint)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urlsplit

from django import forms
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from console import scope_words, staff
from console.oauth import client_documents, clients, grants
from console.oauth.grants import AuthorizationRequest, Rights
from console.oauth.protocol import CHALLENGE, SCOPES, OAuthError, namespace_of, single
from console.site import site
from somamemory.errors import RateLimited, SomaError
from somamemory.web import console_middleware
from somamemory.web.request_state import state_of
from tenants.models import MAX_ID_LENGTH

NAMESPACE = r"^[A-Za-z0-9._:/-]{1,255}$"
MAX_NAMESPACES = 50


class ConsentForm(forms.Form):
    """The permissions that the user grants. Only the scopes that the app has requested are offered."""

    tenant = forms.ChoiceField()
    scopes = forms.MultipleChoiceField(widget=forms.CheckboxSelectMultiple)
    namespaces = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2}))
    user_id = forms.CharField(required=False, max_length=MAX_ID_LENGTH)

    def __init__(self, *args: Any, tenants: list[str], scopes: list[str], namespace: str | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = {"tenant": [(slug, slug) for slug in tenants], "scopes": scope_words.choices(scopes)}
        for name, offered in choices.items():
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)  # noqa: S101 - for type checkers
            field.choices = offered
        self.fields["scopes"].initial = scopes
        self.namespace = namespace
        if namespace is not None:
            del self.fields["namespaces"]

    def clean_namespaces(self) -> list[str]:
        field = forms.RegexField(NAMESPACE)
        names = [field.clean(line.strip()) for line in self.cleaned_data["namespaces"].splitlines() if line.strip()]
        if len(names) > MAX_NAMESPACES:
            raise forms.ValidationError(f"Enter at most {MAX_NAMESPACES} namespaces.")
        return names

    @property
    def rights(self) -> Rights:
        given = self.cleaned_data
        namespaces = given["namespaces"] if self.namespace is None else [self.namespace]
        return Rights(given["scopes"], namespaces, given["user_id"] or None)


@require_http_methods(["GET", "POST"])
def page(request: HttpRequest) -> HttpResponse:
    if not settings.OAUTH_URL:
        raise Http404
    try:
        parameters = single(request.GET)
        client, redirect_uri = _receiver(request, parameters)
    except (OAuthError, RateLimited) as error:  # never redirect to an address that is not known to be the app's
        return _refused(request, error)
    try:
        wanted = _authorization_request(client, redirect_uri, parameters)
        offered = _offered(parameters.get("scope", ""))
    except OAuthError as error:
        return _invalid(request, error, redirect_uri, parameters)
    form = _form(request, wanted, offered)
    if request.method == "GET":
        return _consent(request, wanted, form)
    if request.POST.get("decision") != "allow":
        refusal = {"error": "access_denied", "error_description": "the user denied access"}
        return _back(redirect_uri, parameters, refusal)
    return _allowed(request, wanted, form, parameters)


def _receiver(request: HttpRequest, parameters: dict[str, str]) -> tuple[Any, str]:
    """Return the client and the redirect URI in a request.

    Raises OAuthError if the client is unknown or has not registered the URI, and RateLimited if there are too
    many new clients from the address.
    """
    client = clients.resolved(parameters.get("client_id", ""), state_of(request).client_address)
    redirect_uri = parameters.get("redirect_uri", "")
    if not clients.allows(client, redirect_uri):
        raise OAuthError("invalid_request", "redirect_uri must be one of the redirect URIs that the app has registered")
    return client, redirect_uri


def _invalid(request: HttpRequest, error: OAuthError, redirect_uri: str, parameters: dict[str, str]) -> HttpResponse:
    """Show why the request is invalid. Report the error to the app only at the user's request.

    Anyone can register an app, so an automatic redirect would make this server an open redirector (RFC 9700, section
    4.11.2).
    """
    if request.method == "POST":
        return _back(redirect_uri, parameters, error.fields)
    return _refused(request, error, back=_response_uri(redirect_uri, parameters, error.fields))


def _authorization_request(client: Any, redirect_uri: str, parameters: dict[str, str]) -> AuthorizationRequest:
    for name in ("request", "request_uri"):
        if name in parameters:
            raise OAuthError(f"{name}_not_supported", f"{name} is not supported; send plain parameters")
    if parameters.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "response_type must be 'code'")
    if parameters.get("response_mode", "query") != "query":
        raise OAuthError("invalid_request", "response_mode must be 'query'")
    challenge, resource = parameters.get("code_challenge", ""), parameters.get("resource", "")
    if parameters.get("code_challenge_method") != "S256" or not CHALLENGE.fullmatch(challenge):
        raise OAuthError("invalid_request", "code_challenge with code_challenge_method 'S256' is required (PKCE)")
    namespace_of(resource)
    return AuthorizationRequest(client, redirect_uri, resource, challenge)


def _offered(scope: str) -> list[str]:
    """Return the requested scopes that exist. The response to the app lists the granted ones (RFC 6749, 3.3)."""
    requested = scope.split() or SCOPES
    offered = [name for name in SCOPES if name in requested]
    if not offered:
        raise OAuthError("invalid_scope", "scope must contain at least one of " + ", ".join(SCOPES))
    return offered


def _form(request: HttpRequest, wanted: AuthorizationRequest, offered: list[str]) -> ConsentForm:
    return ConsentForm(
        request.POST if request.method == "POST" else None,
        tenants=staff.slugs(request.user),
        scopes=offered,
        namespace=namespace_of(wanted.resource),
    )


def _allowed(
    request: HttpRequest, wanted: AuthorizationRequest, form: ConsentForm, parameters: dict[str, str]
) -> HttpResponse:
    if not form.is_valid():
        return _consent(request, wanted, form, status=400)
    try:
        caller = staff.caller(request, staff.tenant_named(request, form.cleaned_data["tenant"]))
        code = grants.approve(caller, int(request.user.pk or 0), wanted, form.rights)
    except SomaError as error:
        form.add_error(None, f"You cannot grant this access: {error.detail}.")
        return _consent(request, wanted, form, status=403)
    return _back(wanted.redirect_uri, parameters, {"code": code})


def _consent(request: HttpRequest, wanted: AuthorizationRequest, form: ConsentForm, status: int = 200) -> HttpResponse:
    if not form.fields["tenant"].choices:  # type: ignore[attr-defined]
        raise PermissionDenied
    host = urlsplit(wanted.redirect_uri).hostname
    is_document = client_documents.is_url(wanted.client.client_id)
    context = {
        **site.each_context(request),
        "title": "Connect an app",
        "client": wanted.client,
        "publisher": urlsplit(wanted.client.client_id).hostname if is_document else "",
        "host": host,
        "is_local": wanted.redirect_uri.startswith("http:"),
        "resource": wanted.resource,
        "namespace": form.namespace,
        "form": form,
    }
    response = render(request, "console/oauth_consent.html", context, status=status)
    # Browsers also apply form-action to the redirect that follows the form.
    response["Content-Security-Policy"] = console_middleware.policy(form_action=_origin(wanted.redirect_uri))
    return response


def _origin(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}"


def _refused(request: HttpRequest, error: OAuthError | RateLimited, back: str = "") -> HttpResponse:
    """Show the reason, with a link back to the app if `back` is given."""
    context = {
        **site.each_context(request),
        "title": "The app cannot be connected",
        "error": error.description if isinstance(error, OAuthError) else error.detail,
        "back": back,
        "host": urlsplit(back).hostname,
    }
    return render(request, "console/oauth_refused.html", context, status=429 if isinstance(error, RateLimited) else 400)


def _back(redirect_uri: str, parameters: dict[str, str], fields: dict[str, str]) -> HttpResponse:
    """Send the browser back to the app."""
    return HttpResponseRedirect(_response_uri(redirect_uri, parameters, fields))


def _response_uri(redirect_uri: str, parameters: dict[str, str], fields: dict[str, str]) -> str:
    """Return the redirect URI with the response. `iss` identifies this server (RFC 9207)."""
    state = {"state": parameters["state"]} if "state" in parameters else {}
    query = urlencode({**fields, **state, "iss": settings.OAUTH_URL})
    return redirect_uri + ("&" if urlsplit(redirect_uri).query else "?") + query
