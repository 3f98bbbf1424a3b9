package cert

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
)

var quiz = Domain{Name: "quiz.example.com", Environment: springtide.EnvironmentID{App: "quiz", Name: springtide.Production}}

// xor seals so that a test can see that something was sealed.
type xor struct{}

func (xor) Seal(_ string, plain []byte) ([]byte, error) {
	sealed := bytes.Clone(plain)
	for i := range sealed {
		sealed[i] ^= 0x55
	}
	return sealed, nil
}

func (x xor) Open(name string, sealed []byte) ([]byte, error) { return x.Seal(name, sealed) }

// fakeIssuer gives certificates of 90 days, or the error.
type fakeIssuer struct {
	mu       sync.Mutex
	err      error
	hang     bool
	life     time.Duration
	asked    []time.Time
	until    time.Time // busy
	proposed time.Time
	replaced int
}

func (f *fakeIssuer) issue(ctx context.Context, name string, replaced *x509.Certificate) (chain, key []byte, err error) {
	f.mu.Lock()
	f.asked = append(f.asked, time.Now())
	if replaced != nil {
		f.replaced++
	}
	hang, err, life := f.hang, f.err, f.life
	f.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}
	if err != nil {
		return nil, nil, err
	}
	chain, key = selfSigned(name, time.Now(), life)
	return chain, key, nil
}

func (f *fakeIssuer) suggest(context.Context, *x509.Certificate) (at, again time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.proposed, time.Time{}, nil
}

func (f *fakeIssuer) busyUntil() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.until
}

func (f *fakeIssuer) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeIssuer) times() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]time.Time{}, f.asked...)
}

func selfSigned(name string, from time.Time, life time.Duration) (chain, keyText []byte) {
	key, keyText, err := makeKey()
	if err != nil {
		panic(err)
	}
	return sign(name, from, life, key, nil, nil), keyText
}

// sign gives a certificate in PEM; without a parent it signs itself.
func sign(name string, from time.Time, life time.Duration, key *ecdsa.PrivateKey, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) []byte {
	template := &x509.Certificate{
		SerialNumber: serialNumber(), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: from, NotAfter: from.Add(life),
		IsCA: parent == nil, BasicConstraintsValid: true,
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	encoded, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		panic(err)
	}
	certificate, err := x509.ParseCertificate(encoded)
	if err != nil {
		panic(err)
	}
	return encodeCertificate(certificate)
}

// world is the rest of the platform as a Keeper sees it.
type world struct {
	*fakeIssuer
	folder string

	mu      sync.Mutex
	domains []Domain
	events  []springtide.Event
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{fakeIssuer: &fakeIssuer{life: 90 * 24 * time.Hour}, folder: t.TempDir(), domains: []Domain{quiz}}
}

// open opens the Keeper as a control plane does that has just been started.
func (w *world) open(t *testing.T, change ...func(*KeeperOptions)) *Keeper {
	t.Helper()
	o := KeeperOptions{
		Folder: w.folder, Sealer: xor{}, ACME: ACME{Email: "you@example.com"}, Logger: slog.New(slog.DiscardHandler),
		Domains: func() []Domain {
			w.mu.Lock()
			defer w.mu.Unlock()
			return append([]Domain{}, w.domains...)
		},
		Settle: func(context.Context) error { return nil },
		Happened: func(event springtide.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, event)
		},
	}
	for _, c := range change {
		c(&o)
	}
	k, err := OpenKeeper(o)
	if err != nil {
		t.Fatal(err)
	}
	if k.issuer != nil {
		k.issuer = w.fakeIssuer
	}
	return k
}

// keep runs a Keeper for so long, as time goes in a synctest bubble.
func keep(t *testing.T, k *Keeper, length time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(length, cancel)
	if err := k.Run(ctx); err != nil {
		t.Error(err)
	}
}

func (w *world) told(kind string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, event := range w.events {
		if event.Kind == kind {
			n++
		}
	}
	return n
}

func served(k *Keeper) string {
	certificates, _ := k.Current()
	if len(certificates) == 0 {
		return ""
	}
	return certificates[0].Chain
}

func TestAPublicCertificateIsObtainedAndRenewedWhenTwoThirdsOfItsLifeAreOver(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		k := w.open(t)
		if served(k) != "" {
			t.Error("something is served already")
		}
		keep(t, k, time.Minute)
		first := served(k)
		if first == "" || len(w.times()) != 1 {
			t.Fatalf("after a minute: %d attempts, %q", len(w.times()), first)
		}
		k = w.open(t) // another control plane
		if served(k) != first {
			t.Error("it was not kept")
		}
		keep(t, k, 70*24*time.Hour)
		times := w.times()
		if len(times) != 2 || w.replaced != 1 {
			t.Fatalf("%d attempts, %d replaced", len(times), w.replaced)
		}
		if after := times[1].Sub(times[0]); after < 60*24*time.Hour || after > 66*24*time.Hour+time.Hour {
			t.Errorf("renewed after %s", after)
		}
		if served(k) == first || w.told("certificate.obtained") != 2 {
			t.Error("the new one is not served, or nobody was told")
		}
	})
}

func TestAfterAFailureThePauseDoublesAndWhatIsServedStays(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		keep(t, w.open(t), time.Minute)
		first := served(w.open(t))
		w.set(func() { w.err = springtide.Errorf(springtide.Failed, "the ACME server says dns: no such name") })
		k := w.open(t)
		keep(t, k, 75*24*time.Hour)
		times := w.times()[1:]
		for i := range times[:6] {
			pause, want := times[i+1].Sub(times[i]), firstPause<<i
			if pause < want*8/10 || pause > want*12/10 {
				t.Errorf("pause %d is %s, want about %s", i, pause, want)
			}
		}
		last := times[len(times)-1].Sub(times[len(times)-2])
		if last < longestPause*8/10 || last > longestPause*12/10 || len(times) > 60 {
			t.Errorf("the last pause of %d is %s", len(times), last)
		}
		s := k.Statuses()[0]
		if served(k) != first || s.Failures != len(times) || !strings.Contains(s.Failure, "no such name") || !s.Renewal.After(time.Now()) {
			t.Errorf("status: %+v", s)
		}
		time.Sleep(20 * 24 * time.Hour)
		if s := k.Statuses()[0]; served(k) != first || !strings.Contains(s.Trouble, "it ran out on") || !strings.Contains(s.Trouble, "no such name") {
			t.Errorf("beyond its end: %+v", s)
		}
		w.set(func() { w.err = nil })
		if err := k.Renew(t.Context(), quiz); err != nil || served(k) == first {
			t.Errorf("renewed by hand: %v", err)
		}
		if s := k.Statuses()[0]; s.Trouble != "" || s.Failure != "" {
			t.Errorf("after it was mended: %+v", s)
		}
	})
}

func TestAnAttemptThatWasCutOffIsNotMadeAgainAtOnce(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.set(func() { w.hang = true })
		for range 50 { // a control plane that dies each second
			keep(t, w.open(t), time.Second)
		}
		if n := len(w.times()); n != 2 {
			t.Errorf("%d attempts in 50 seconds", n)
		}
		w.set(func() { w.hang = false })
		k := w.open(t)
		keep(t, k, 2*time.Minute)
		if served(k) == "" || k.Statuses()[0].Failures != 0 {
			t.Errorf("status: %+v", k.Statuses()[0])
		}
	})
}

func TestAnAuthorityThatWantsToBeLeftAloneIs(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		w.set(func() { w.until = began.Add(5 * time.Hour) })
		k := w.open(t)
		if err := k.Renew(t.Context(), quiz); springtide.KindOf(err) != springtide.Unavailable {
			t.Errorf("renewed by hand: %v", err)
		}
		keep(t, k, 6*time.Hour)
		if times := w.times(); len(times) != 1 || times[0].Sub(began) < 5*time.Hour || times[0].Sub(began) > 5*time.Hour+time.Minute {
			t.Errorf("asked %v after", times)
		}
	})
}

func TestASuggestionOfTheAuthorityCountsIfItIsEarlier(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.set(func() { w.proposed = time.Now().Add(10 * 24 * time.Hour) })
		keep(t, w.open(t), 11*24*time.Hour)
		if times := w.times(); len(times) < 2 || times[1].Sub(times[0]) < 239*time.Hour {
			t.Errorf("asked %v", times)
		}
	})
	w = newWorld(t)
	synctest.Test(t, func(t *testing.T) { // a window that is always in the past is no tight loop
		w.set(func() { w.proposed = time.Now().Add(-time.Hour) })
		keep(t, w.open(t), 24*time.Hour)
		if n := len(w.times()); n > 5 {
			t.Errorf("%d attempts in a day", n)
		}
	})
}

func TestOnlyPublicNamesOfAppsAreAskedFor(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.domains = []Domain{{Name: "quiz.localhost"}, {Name: "a.internal"}, {Name: "*.example.com"}, {Name: "192.0.2.1"}}
		k := w.open(t)
		keep(t, k, time.Hour)
		if n := len(w.times()); n != 0 {
			t.Errorf("%d attempts", n)
		}
		for _, s := range k.Statuses() {
			if wild := strings.HasPrefix(s.Name, "*"); wild != strings.Contains(s.Trouble, "--acme-dns-hook") || s.Source != SourceOwn {
				t.Errorf("%+v", s)
			}
		}
		w.domains = []Domain{quiz}
		keep(t, k, time.Hour)
		w.domains = nil
		keep(t, k, 100*24*time.Hour)
		if n := len(w.times()); n != 1 {
			t.Errorf("a domain that was removed was renewed: %d attempts", n)
		}
		if files, err := filepath.Glob(filepath.Join(w.folder, "*.json")); err != nil || len(files) != 0 {
			t.Errorf("kept for ever: %v %v", files, err)
		}
		w.domains = []Domain{quiz}
		keep(t, w.open(t, func(o *KeeperOptions) { o.ACME = ACME{} }), time.Hour)
		if n := len(w.times()); n != 1 {
			t.Errorf("%d attempts though nobody wants any", n)
		}
	})
	for name, public := range map[string]bool{
		"example.com": true, "*.example.com": true, "xn--bcher-kva.example.de": true, "localhost": false, "a.home.arpa": false,
		"intranet": false, "10.0.0.1": false, "::1": false, "a.b.local": false, "": false, "*.": false,
	} {
		if Public(name) != public {
			t.Errorf("%q is public: %v", name, !public)
		}
	}
}

func TestAFileOfOnesOwnIsServedUntilItRunsOut(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		k := w.open(t)
		chain, key := selfSigned(quiz.Name, time.Now(), 30*24*time.Hour)
		if err := k.Add(t.Context(), []Domain{quiz}, chain, key); err != nil {
			t.Fatal(err)
		}
		keep(t, k, 5*24*time.Hour)
		if s := k.Statuses()[0]; served(k) != string(chain) || len(w.times()) != 0 || s.Source != SourceFile || s.Trouble != "" {
			t.Errorf("%d attempts, %+v", len(w.times()), s)
		}
		keep(t, k, 10*24*time.Hour)
		if s := k.Statuses()[0]; !strings.Contains(s.Trouble, "the file runs out on") || w.told("certificate.trouble") != 1 {
			t.Errorf("soon: told %d times, %+v", w.told("certificate.trouble"), s)
		}
		keep(t, k, 16*24*time.Hour)
		if s := k.Statuses()[0]; served(k) == string(chain) || s.Source != SourceACME || !strings.Contains(s.Trouble, "the file ran out") {
			t.Errorf("afterwards: %+v", s)
		}
		if err := errors.Join(k.Remove(t.Context(), quiz)); err != nil || k.Statuses()[0].Trouble != "" {
			t.Errorf("removed: %v", err)
		}
		if err := k.Remove(t.Context(), quiz); springtide.KindOf(err) != springtide.NotFound {
			t.Errorf("removed again: %v", err)
		}
	})
}

func TestAFileThatIsWorthNothingIsRefusedAndTheLastGoodOneStays(t *testing.T) {
	w := newWorld(t)
	k := w.open(t, func(o *KeeperOptions) { o.ACME = ACME{} })
	now := time.Now()
	good, goodKey := selfSigned(quiz.Name, now, time.Hour)
	if err := k.Add(t.Context(), []Domain{quiz}, good, goodKey); err != nil {
		t.Fatal(err)
	}
	other, otherKey := selfSigned("other.example.com", now, time.Hour)
	expired, expiredKey := selfSigned(quiz.Name, now.Add(-2*time.Hour), time.Hour)
	future, futureKey := selfSigned(quiz.Name, now.Add(48*time.Hour), time.Hour)
	root, _ := selfSigned("root", now, time.Hour)
	for said, pair := range map[string][2][]byte{
		"not for quiz.example.com":           {other, otherKey},
		"the key is not that of the":         {good, otherKey},
		"ran out on":                         {expired, expiredKey},
		"not valid before":                   {future, futureKey},
		"is not signed by the next one":      {append(bytes.Clone(good), root...), goodKey},
		"the key is not that of the certifi": {append(bytes.Clone(root), good...), goodKey},
		"the chain holds a private key":      {append(bytes.Clone(goodKey), good...), goodKey},
		"the chain is not in PEM":            {[]byte("nonsense"), goodKey},
		"the key is not that":                {good, nil},
	} {
		if err := k.Add(t.Context(), []Domain{quiz}, pair[0], pair[1]); springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), said) {
			t.Errorf("%s: got %v", said, err)
		}
	}
	if served(k) != string(good) {
		t.Error("the last good one is not served any more")
	}
}

func TestAWholeChainIsAccepted(t *testing.T) {
	w := newWorld(t)
	k := w.open(t)
	now := time.Now()
	rootKey, _, err := makeKey()
	if err != nil {
		t.Fatal(err)
	}
	rootText := sign("root", now, time.Hour, rootKey, nil, nil)
	root, err := parseCertificate(rootText)
	if err != nil {
		t.Fatal(err)
	}
	key, keyText, err := makeKey()
	if err != nil {
		t.Fatal(err)
	}
	wild := Domain{Name: "*.example.com", Environment: quiz.Environment}
	w.domains = append(w.domains, wild)
	leaf := sign("*.example.com", now, time.Hour, key, root, rootKey)
	if err := k.Add(t.Context(), []Domain{quiz, wild}, append(leaf, rootText...), keyText); err != nil {
		t.Fatal(err)
	}
	if certificates, _ := k.Current(); len(certificates) != 2 {
		t.Errorf("%d certificates", len(certificates))
	}
}

func TestKeysAreSealedAndWhatIsDamagedIsDoneWithout(t *testing.T) {
	w := newWorld(t)
	k := w.open(t, func(o *KeeperOptions) { o.ACME = ACME{} })
	chain, key := selfSigned(quiz.Name, time.Now(), time.Hour)
	if err := k.Add(t.Context(), []Domain{quiz}, chain, key); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(w.folder, quiz.Name+".json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || bytes.Contains(text, []byte("PRIVATE KEY")) {
		t.Errorf("mode %v, %v: %s", info.Mode(), err, text)
	}
	for _, damage := range [][]byte{nil, []byte("{"), bytes.Replace(text, []byte(`"key":"`), []byte(`"key":"AAAA`), 1), bytes.Replace(text, []byte("quiz.example"), []byte("elsewhere"), 1)} {
		if err := os.WriteFile(path, damage, 0o600); err != nil {
			t.Fatal(err)
		}
		if k := w.open(t); served(k) != "" {
			t.Errorf("served from %q", damage)
		}
	}
}

func TestSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, a := range []ACME{
		{Directory: LetsEncrypt},
		{Email: "you"},
		{Email: "You <you@example.com>"},
		{Email: "you@example.com", Directory: "http://a.example"},
		{Email: "you@example.com", Root: file},
		{Email: "you@example.com", Root: file + "x"},
		{Email: "you@example.com", Hook: file},
		{Email: "you@example.com", Hook: "relative"},
		{Email: "you@example.com", AccountID: "ours"},
		{Email: "you@example.com", AccountID: "ours", AccountKey: file + "x"},
	} {
		if err := a.Validate(); springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("%+v: %v", a, err)
		}
	}
	if err := errors.Join(ACME{}.Validate(), ACME{Email: "you@example.com"}.Validate()); err != nil {
		t.Error(err)
	}
}

func TestRetryAfterIsReadInBothFormsAndBelievedForADay(t *testing.T) {
	now := time.Date(2026, 5, 3, 9, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"120": 2 * time.Minute, "Sun, 03 May 2026 10:00:00 GMT": time.Hour, "99999999": 24 * time.Hour,
	} {
		if got := retryAfter(text, now).Sub(now); got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
	for _, text := range []string{"", "soon", "-5", "99999999999999999999"} {
		if got := retryAfter(text, now); !got.IsZero() {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func FuzzChain(f *testing.F) {
	chain, key := selfSigned("a.example.com", time.Now(), time.Hour)
	f.Add(chain, key)
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"), []byte{})
	f.Fuzz(func(t *testing.T, chain, key []byte) {
		leaf, err := check([]string{"a.example.com"}, chain, key, time.Now())
		if (leaf == nil) == (err == nil) {
			t.Errorf("%v, %v", leaf, err)
		}
		if err != nil && springtide.KindOf(err) != springtide.Invalid {
			t.Error(err)
		}
	})
}
