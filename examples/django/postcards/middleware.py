import os

from django.http import HttpResponse


def instance(get_response):
    """Says which instance answers, and whether it is well. The database is not asked:
    were it away, replacing instances would not bring it back."""
    name = os.environ.get("TIDE_INSTANCE", "local")

    def middleware(request):
        if request.path == "/healthz":
            response = HttpResponse("ok\n", content_type="text/plain")
        else:
            response = get_response(request)
        response["X-Instance"] = name
        return response

    return middleware
