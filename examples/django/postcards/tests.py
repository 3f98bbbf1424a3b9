import tempfile

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import TestCase, override_settings

from postcards.forms import KINDS, LARGEST
from postcards.models import Card

PIXELS = KINDS["png"] + b"and so on"


class TheWall(TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        settings = override_settings(MEDIA_ROOT=folder.name)
        settings.enable()
        self.addCleanup(settings.disable)

    def send(self, text="Wish you were here", picture=None, name="cat.png"):
        data = {"text": text, "sender": "Ada"}
        if picture is not None:
            data["picture"] = SimpleUploadedFile(name, picture)
        return self.client.post("/", data)

    def test_is_healthy_and_names_its_instance(self):
        answer = self.client.get("/healthz")
        self.assertEqual(answer.content, b"ok\n")
        self.assertEqual(answer["X-Instance"], "local")

    def test_shows_what_was_sent_and_remembers_the_sender(self):
        self.assertContains(self.client.get("/"), "Nobody has written yet")
        self.assertRedirects(self.send(), "/")
        self.assertContains(self.client.get("/"), "Wish you were here")
        self.assertContains(self.client.get("/"), 'value="Ada"')

    def test_shows_text_as_text(self):
        self.send("<script>alert(1)</script>")
        self.assertContains(self.client.get("/"), "&lt;script&gt;")

    def test_gives_a_picture_back_as_what_it_is_and_not_as_it_was_called(self):
        self.send(picture=PIXELS, name="page.html")
        answer = self.client.get(f"/cards/{Card.objects.get().id}/picture")
        self.assertEqual(b"".join(answer.streaming_content), PIXELS)
        self.assertEqual(answer["Content-Type"], "image/png")
        self.assertEqual(answer["X-Content-Type-Options"], "nosniff")

    def test_refuses_what_is_no_picture_or_too_large(self):
        for picture in (b"<html>", KINDS["gif"] + bytes(LARGEST)):
            self.assertContains(self.send(picture=picture), "A picture", status_code=400)
        self.assertFalse(Card.objects.exists())

    def test_says_that_there_is_no_picture_when_its_file_is_lost(self):
        self.send(picture=PIXELS)
        card = Card.objects.get()
        card.picture.delete(save=False)
        self.assertEqual(self.client.get(f"/cards/{card.id}/picture").status_code, 404)

    def test_lets_only_the_sender_take_a_card_down_with_its_picture(self):
        self.send(picture=PIXELS)
        card = Card.objects.get()
        self.assertEqual(self.client_class().post(f"/cards/{card.id}/delete").status_code, 404)
        self.assertRedirects(self.client.post(f"/cards/{card.id}/delete"), "/")
        self.assertFalse(Card.objects.exists())
        self.assertFalse(card.picture.storage.exists(card.picture.name))
