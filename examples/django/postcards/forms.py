from django import forms

from postcards.models import Card

# How files of each kind begin.
KINDS = {"png": b"\x89PNG\r\n\x1a\n", "jpeg": b"\xff\xd8\xff", "gif": b"GIF8"}
LARGEST = 8 << 20  # bytes


class CardForm(forms.ModelForm):
    class Meta:
        model = Card
        fields = ["text", "sender", "picture"]

    def clean_picture(self):
        picture = self.cleaned_data["picture"]
        if not picture:
            return picture
        if picture.size > LARGEST:
            raise forms.ValidationError("A picture has at most 8 MiB.")
        begins = picture.read(8)
        picture.seek(0)
        for kind, magic in KINDS.items():
            if begins.startswith(magic):
                self.instance.kind = kind
                return picture
        raise forms.ValidationError("A picture is a PNG, a JPEG or a GIF.")
