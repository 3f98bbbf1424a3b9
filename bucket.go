package springtide

import (
	"cmp"
	"net/url"
	"path"
	"strings"
)

// S3Region is the region that S3 clients take for granted, and servers that
// have none say they are in.
const S3Region = "us-east-1"

// Bucket is a place in S3.
type Bucket struct {
	// Endpoint is the URL of the server, without a path.
	Endpoint string
	Region   string
	Name     string
	// Prefix is what all keys begin with; it ends with a slash, or is empty.
	Prefix string
}

// ParseBucket reads s3://bucket/prefix?endpoint=https://host&region=name. The
// server is Amazon's own if none is named. Errors are of kind Invalid.
func ParseBucket(text string) (Bucket, error) {
	refused := func(why string) (Bucket, error) {
		return Bucket{}, Errorf(Invalid, "%q is no bucket: %s", text, why).
			WithHint("write s3://bucket/prefix?endpoint=https://host&region=name")
	}
	parsed, err := url.Parse(text)
	if err != nil || parsed.Scheme != "s3" {
		return refused("it does not begin with s3://")
	}
	if parsed.User != nil {
		return Bucket{}, Errorf(Invalid, "the URL of a bucket holds no keys").WithHint("they are secrets")
	}
	query := parsed.Query()
	for key := range query {
		if key != "endpoint" && key != "region" {
			return refused("it says " + key + ", which is not known")
		}
	}
	b := Bucket{Name: parsed.Host, Region: cmp.Or(query.Get("region"), S3Region), Prefix: strings.Trim(parsed.Path, "/")}
	if b.Name == "" || strings.Contains(b.Name, ":") {
		return refused("it names none")
	}
	if b.Prefix != "" && (path.Clean(b.Prefix) != b.Prefix || strings.HasPrefix(b.Prefix, "../") || b.Prefix == "..") {
		return refused("its prefix is no path")
	}
	endpoint, err := url.Parse(cmp.Or(query.Get("endpoint"), "https://s3."+b.Region+".amazonaws.com"))
	if err != nil || endpoint.Scheme != "https" && endpoint.Scheme != "http" || endpoint.Host == "" || endpoint.User != nil || strings.Trim(endpoint.Path, "/") != "" {
		return refused("its endpoint is not like https://host:port")
	}
	b.Endpoint = endpoint.Scheme + "://" + endpoint.Host
	if b.Prefix != "" {
		b.Prefix += "/"
	}
	return b, nil
}
