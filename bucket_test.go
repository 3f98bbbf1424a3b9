package springtide_test

import (
	"testing"

	"github.com/springtide/springtide"
)

func TestABucketIsReadFromItsURL(t *testing.T) {
	for text, want := range map[string]springtide.Bucket{
		"s3://b": {Endpoint: "https://s3.us-east-1.amazonaws.com", Region: "us-east-1", Name: "b"},
		"s3://b/a/c/?endpoint=http://10.0.0.1:9000/&region=here": {Endpoint: "http://10.0.0.1:9000", Region: "here", Name: "b", Prefix: "a/c/"},
		"s3://b?region=eu-west-3":                                {Endpoint: "https://s3.eu-west-3.amazonaws.com", Region: "eu-west-3", Name: "b"},
	} {
		if got, err := springtide.ParseBucket(text); err != nil || got != want {
			t.Errorf("%s is %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "b", "https://b/x", "s3://", "s3://b:1/x", "s3://key:secret@b", "s3://b?endpoint=ftp://x", "s3://b?endpoint=https://x/y",
		"s3://b?endpiont=https://x", "s3://b/../x", "s3://b/a//b", "s3://b?endpoint=https://",
	} {
		if _, err := springtide.ParseBucket(text); springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzABucketThatIsReadIsWhole(f *testing.F) {
	f.Add("s3://bucket/prefix?endpoint=https://host:9000&region=x")
	f.Fuzz(func(t *testing.T, text string) {
		b, err := springtide.ParseBucket(text)
		if err == nil && (b.Name == "" || b.Endpoint == "" || b.Region == "" || b.Prefix != "" && (b.Prefix[len(b.Prefix)-1] != '/' || b.Prefix[0] == '/')) {
			t.Errorf("%q gave %+v", text, b)
		}
	})
}
