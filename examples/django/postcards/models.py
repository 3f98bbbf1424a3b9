import uuid

from django.db import models


def place(card, name):
    """Where a picture is kept: under a name of ours, never of a visitor's."""
    return f"{uuid.uuid4()}.{card.kind}"


class Card(models.Model):
    text = models.CharField(max_length=280)
    sender = models.CharField(max_length=60)
    sent = models.DateTimeField(auto_now_add=True)
    picture = models.FileField(upload_to=place, blank=True)
    kind = models.CharField(max_length=4, blank=True)

    class Meta:
        ordering = ["-sent", "-id"]

    def __str__(self):
        return f"{self.sender}: {self.text}"
