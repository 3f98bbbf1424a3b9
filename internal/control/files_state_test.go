package control

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/springtide/springtide"
)

func TestWhatAnAppSetsItselfWinsOverWhatItIsToldOfItsFiles(t *testing.T) {
	variables := map[string]string{"S3_BUCKET": "uploads", "S3_ENDPOINT": "x", "AWS_REGION": "x", "AWS_ACCESS_KEY_ID": "x"}
	for says, test := range map[string]struct {
		release springtide.Release
		want    string
	}{
		"nothing":       {springtide.Release{}, "AWS_ACCESS_KEY_ID AWS_REGION S3_BUCKET S3_ENDPOINT"},
		"a bucket":      {springtide.Release{App: springtide.App{Env: map[string]string{"S3_BUCKET": "mine"}}}, "AWS_ACCESS_KEY_ID AWS_REGION S3_ENDPOINT"},
		"an account":    {springtide.Release{Secrets: map[springtide.SecretName]int{"AWS_ACCESS_KEY_ID": 1}}, "S3_BUCKET S3_ENDPOINT"},
		"a role's name": {springtide.Release{Config: map[string]string{"AWS_ROLE_ARN": "arn"}}, "S3_BUCKET S3_ENDPOINT"},
	} {
		if got := strings.Join(slices.Sorted(maps.Keys(withoutOwn(test.release, variables))), " "); got != test.want {
			t.Errorf("an app that says %s is told %s", says, got)
		}
	}
}
