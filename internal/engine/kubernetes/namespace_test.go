package kubernetes

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/springtide/springtide"
)

func TestANamespaceBelongsToThePlatformThatTookItFirst(t *testing.T) {
	b := newBench(t)
	if err := b.engine.CheckOwner(t.Context(), ""); err != nil {
		t.Errorf("what is nobody's yet: %v", err)
	}
	for range 2 { // the same one comes again
		if err := b.engine.Own(t.Context(), "one"); err != nil {
			t.Fatal(err)
		}
	}
	for what, err := range map[string]error{
		"another platform":     b.engine.Own(t.Context(), "two"),
		"another one, at once": b.engine.CheckOwner(t.Context(), "two"),
		"one without a name":   b.engine.CheckOwner(t.Context(), ""),
	} {
		if springtide.KindOf(err) != springtide.Conflict || !strings.Contains(err.Error(), "namespace apps is used by another Springtide") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestNodesPullByWhatIsKeptForThem(t *testing.T) {
	b := newBench(t)
	for _, config := range []string{`{"auths":{}}`, `{"auths":{}}`, `{"auths":{"r":{}}}`} {
		if err := b.engine.KeepPullSecret(t.Context(), []byte(config)); err != nil {
			t.Fatal(err)
		}
		kept := b.get("secrets/" + PullSecret)
		if data, _ := kept["data"].(object); data[".dockerconfigjson"] != base64.StdEncoding.EncodeToString([]byte(config)) {
			t.Errorf("kept %v, want %s", kept, config)
		}
	}
}

func TestOnlyATaskThatWasBegunIsKnown(t *testing.T) {
	b := newBench(t)
	b.put("secrets/"+taskName("run-1"), object{})
	for id, want := range map[string]bool{"run-1": true, "run-2": false, "no name": false} {
		if known, err := b.engine.Knows(t.Context(), id); err != nil || known != want {
			t.Errorf("%s: %v, %v", id, known, err)
		}
	}
}
