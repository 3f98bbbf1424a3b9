from django.contrib import admin

from postcards.models import Card

admin.site.register(Card, list_display=["sender", "text", "sent"], readonly_fields=["kind"])
