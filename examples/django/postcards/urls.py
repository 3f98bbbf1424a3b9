from django.contrib import admin
from django.urls import path

from postcards import views

urlpatterns = [
    path("", views.wall, name="wall"),
    path("cards/<int:card>/picture", views.picture, name="picture"),
    path("cards/<int:card>/delete", views.delete, name="delete"),
    path("admin/", admin.site.urls),
]
