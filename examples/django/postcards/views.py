from django.http import FileResponse, Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_GET, require_POST, require_http_methods

from postcards.forms import CardForm
from postcards.models import Card


@require_http_methods(["GET", "HEAD", "POST"])
def wall(request):
    """Shows the newest cards, and takes another one."""
    mine = request.session.get("mine", [])
    if request.method != "POST":
        form = CardForm(initial={"sender": request.session.get("sender", "")})
    else:
        form = CardForm(request.POST, request.FILES)
        if form.is_valid():
            card = form.save()
            request.session["mine"] = [*mine, card.id]
            request.session["sender"] = card.sender
            return redirect("wall")
    status = 400 if form.errors else 200
    return render(request, "wall.html", {"cards": Card.objects.all()[:50], "form": form, "mine": mine}, status=status)


@require_GET
@cache_control(public=True, max_age=3600)
def picture(request, card):
    card = get_object_or_404(Card, id=card)
    try:
        return FileResponse(card.picture.open(), content_type=f"image/{card.kind}")
    except (ValueError, FileNotFoundError):
        raise Http404("There is no picture.")


@require_POST
def delete(request, card):
    """Takes down a card of the visitor's own."""
    card = get_object_or_404(Card, id=card)
    if card.id not in request.session.get("mine", []):
        raise Http404("It is not yours.")
    card.delete()
    card.picture.delete(save=False)
    return redirect("wall")
