"""The OAuth authorization server, with which web connectors such as those of claude.ai and ChatGPT get access to /mcp.

It implements OAuth 2.1 as the Model Context Protocol requires it: public clients, authorization codes with PKCE (S256),
refresh tokens that rotate, metadata (RFC 8414, RFC 9728), resource indicators (RFC 8707), revocation (RFC 7009),
dynamic registration (RFC 7591) and client ID metadata documents. An access token is an API key: see `grants`.
"""
