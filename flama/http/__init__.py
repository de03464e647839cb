"""HTTP for handlers: lazily read requests, responses of every usual kind, web sockets."""

from starlette.datastructures import Address, FormData, Headers, MutableHeaders, QueryParams, State, UploadFile
from starlette.websockets import WebSocketDisconnect

from flama.http.request import Request
from flama.http.response import (
    APIErrorResponse,
    APIResponse,
    FileResponse,
    HTMLResponse,
    JSONResponse,
    NDJSONResponse,
    OpenAPIResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    ServerSentEvent,
    ServerSentEventResponse,
    StreamingResponse,
)
from flama.http.websocket import WebSocket

__all__ = [
    "APIErrorResponse",
    "APIResponse",
    "Address",
    "FileResponse",
    "FormData",
    "HTMLResponse",
    "Headers",
    "JSONResponse",
    "MutableHeaders",
    "NDJSONResponse",
    "OpenAPIResponse",
    "PlainTextResponse",
    "QueryParams",
    "RedirectResponse",
    "Request",
    "Response",
    "ServerSentEvent",
    "ServerSentEventResponse",
    "State",
    "StreamingResponse",
    "UploadFile",
    "WebSocket",
    "WebSocketDisconnect",
]
