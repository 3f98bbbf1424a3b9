package secret

import (
	"bytes"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
)

func TestAnEnvFileIsReadAsPeopleWriteIt(t *testing.T) {
	file := "\ufeff# of the quiz\r\n" + `
A=plain value  # a comment
B = "double \"quoted\"\n\ttwo lines \$HOME \d" # a comment
export C='single "quoted" \n # no comment'
	export	D="over
several
lines"
E=
F=#nothing
G=a#b=c
H='over
two' #
I=""
exporter=x
URL=postgres://u:p@h/db?x=y`
	want := map[springtide.SecretName]string{
		"A": "plain value", "B": "double \"quoted\"\n\ttwo lines $HOME \\d", "C": `single "quoted" \n # no comment`,
		"D": "over\nseveral\nlines", "E": "", "F": "", "G": "a#b=c", "H": "over\ntwo", "I": "", "exporter": "x", "URL": "postgres://u:p@h/db?x=y",
	}
	read := must[values](t)(ImportEnv(strings.NewReader(file)))
	got := map[springtide.SecretName]string{}
	for name, value := range read {
		got[name] = string(value)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAnEnvFileThatIsNoneSaysInWhichLine(t *testing.T) {
	for file, want := range map[string]string{
		"A=1\n\nB":                 "line 3: there is no = in it",
		"# x\n1A=2":                "line 2: \"1A\" cannot be the name of a secret",
		"A=1\nB=\"x\ny\nz":         "line 2: the quote \" is not closed",
		"A=1\nB='x\n":              "line 2: the quote ' is not closed",
		"A=\"1\n2\" 3":             "line 2: there is something after the closing quote of A",
		"A=1\nB=2\nA=3":            "line 3: A is set in line 1 already",
		"A-B=1":                    "line 1: \"A-B\"",
		strings.Repeat("#", 5<<20): "4 MiB",
	} {
		_, err := ImportEnv(strings.NewReader(file))
		if springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %q", file, err, want)
		}
	}
}

func FuzzAnEnvFileThatIsWrittenIsReadAgain(f *testing.F) {
	f.Add([]byte("A=1\nB=\"x\\n\"\nexport C='y'#z"))
	f.Add([]byte("A=\"\r\\\r\n$\\$\"\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		read, err := ImportEnv(bytes.NewReader(file))
		if err != nil {
			return
		}
		written, err := formatEnv(read)
		if err != nil {
			return
		}
		again, err := ImportEnv(bytes.NewReader(written))
		if err != nil || !maps.EqualFunc(read, again, bytes.Equal) {
			t.Fatalf("%q became %q: %v", read, again, err)
		}
	})
}

func TestAnExportIsForItsRecipientOnly(t *testing.T) {
	ctx := t.Context()
	k := testKeyring(t, t.TempDir())
	given := values{"KEY": []byte("a \"value\"\nof $two\\ lines\r\n"), "REF": []byte("vault://kv/x#y"), "EMPTY": {}}
	succeed(t, k.Set(ctx, quiz, given))
	identity := must[*age.X25519Identity](t)(age.GenerateX25519Identity())
	sealed := must[[]byte](t)(k.Export(ctx, quiz, identity.Recipient().String()))
	reader := must[io.Reader](t)(age.Decrypt(armor.NewReader(bytes.NewReader(sealed)), identity))
	read := must[values](t)(ImportEnv(reader))
	if !maps.EqualFunc(given, read, bytes.Equal) {
		t.Errorf("exported %q, imported %q", given, read)
	}
	_, err := k.Export(ctx, quiz, "nobody")
	wantKind(t, err, springtide.Invalid)
	succeed(t, k.Set(ctx, quiz, values{"BINARY": {0}}))
	_, err = k.Export(ctx, quiz, identity.Recipient().String())
	wantKind(t, err, springtide.Invalid)
	if names := slices.Sorted(maps.Keys(read)); len(names) != 3 {
		t.Errorf("it has %v", names)
	}
}
