"""The OAuth authorization server, which gives web connectors, such as those of claude.ai and ChatGPT, access to /mcp.

It implements the parts of OAuth 2.1 that the Model Context Protocol requires: public clients, authorization codes with
PKCE (S256), refresh token rotation, metadata (RFC 8414, RFC 9728), resource indicators (RFC 8707), revocation (RFC
7009), dynamic registration (RFC 7591) and client ID metadata documents. An access token is an API key: see `grants`.
"""
