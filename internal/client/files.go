package client

import (
	"context"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// FilesUsage tells how full the shared folders of an environment are, or those of
// all where it is the zero value.
func (c *Client) FilesUsage(ctx context.Context, id springtide.EnvironmentID) ([]api.FilesUsage, error) {
	if id == (springtide.EnvironmentID{}) {
		return call[[]api.FilesUsage](ctx, c, request{method: "GET", path: "/v1/files"})
	}
	return call[[]api.FilesUsage](ctx, c, request{method: "GET", path: environmentPath(id, "files")})
}

// filesPage is how many files are asked for at once.
const filesPage = 1000

// ListFiles lists a folder, deep with what is in folders too.
func (c *Client) ListFiles(ctx context.Context, id springtide.EnvironmentID, place api.FilePlace, deep bool) ([]api.FileInfo, error) {
	all := []api.FileInfo{}
	for after := ""; ; after = last(all) {
		query := url.Values{"path": {place.Path}, "deep": {strconv.FormatBool(deep)}, "limit": {strconv.Itoa(filesPage)}}
		set(query, "after", after)
		page, err := call[[]api.FileInfo](ctx, c, request{method: "GET", path: environmentPath(id, "files", string(place.Files)), query: query})
		all = append(all, page...)
		if err != nil || len(page) < filesPage {
			return all, err
		}
	}
}

// last is what the next page comes after; what is in a folder was joined in it.
func last(files []api.FileInfo) string {
	file := files[len(files)-1]
	if file.Folder {
		return file.Path + "/"
	}
	return file.Path
}

// ReadFile gives what a file holds.
func (c *Client) ReadFile(ctx context.Context, id springtide.EnvironmentID, place api.FilePlace) (io.ReadCloser, error) {
	response, err := c.send(ctx, request{method: "GET", path: contentPath(id, place), query: url.Values{"path": {place.Path}}, accept: "application/octet-stream"})
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// PutFile writes a whole file, or nothing.
func (c *Client) PutFile(ctx context.Context, id springtide.EnvironmentID, place api.FilePlace, content io.Reader, modified time.Time) (api.FileInfo, error) {
	return call[api.FileInfo](ctx, c, request{
		method: "PUT", path: contentPath(id, place), body: content, contentType: "application/octet-stream",
		query: url.Values{"path": {place.Path}, "modified": {modified.UTC().Format(time.RFC3339Nano)}},
	})
}

// DeleteFile deletes a file.
func (c *Client) DeleteFile(ctx context.Context, id springtide.EnvironmentID, place api.FilePlace) error {
	return c.doQuery(ctx, "DELETE", contentPath(id, place), url.Values{"path": {place.Path}})
}

// MoveFiles copies to a bucket what it lacks of a shared folder, for a while.
func (c *Client) MoveFiles(ctx context.Context, id springtide.EnvironmentID, name springtide.FilesName, move api.FilesMove) (api.FilesMoved, error) {
	return call[api.FilesMoved](ctx, c, request{method: "POST", path: environmentPath(id, "files", string(name), "move"), body: move})
}

// DestroyFiles deletes a shared folder that no release uses, with all in it.
func (c *Client) DestroyFiles(ctx context.Context, id springtide.EnvironmentID, name springtide.FilesName) error {
	return c.doQuery(ctx, "DELETE", environmentPath(id, "files", string(name)), url.Values{"confirm": {id.String() + "/" + string(name)}})
}

func contentPath(id springtide.EnvironmentID, place api.FilePlace) string {
	return environmentPath(id, "files", string(place.Files), "content")
}
