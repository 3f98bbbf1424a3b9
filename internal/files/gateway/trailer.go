package gateway

import (
	"bufio"
	"bytes"
	"io"
	"strconv"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3api/utils"
)

// signedTrailer is what a request says whose body is chunks, each signed, and a
// trailer.
const signedTrailer = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"

// inChunks is what fasthttp has for the length of a body in chunks.
const inChunks = -1

// refusedLimit is how much of a body that is refused is read nevertheless, in bytes.
const refusedLimit = 64 << 20

// trailerLimit is how long a trailer may be, in bytes: far less would do.
const trailerLimit = 4096

// prepare mends, before versitygw sees a request, what it gets wrong.
//
// Of a body in HTTP's own chunks it leaves what was not read in the connection,
// where it would be taken for the next request, which may be another client's if
// there is a proxy: such a connection is closed.
//
// The line of a signed trailer may end as in the protocol's description, with
// \n\r\n: versitygw takes the first of it for a part of the checksum, and then
// finds the checksum wrong.
//
// And after it has: a connection that is closed while a body still comes is reset, and
// who sends it may not hear why it was refused. So the rest is read before the answer.
func prepare(ctx fiber.Ctx) error {
	if ctx.Request().Header.ContentLength() == inChunks {
		ctx.RequestCtx().SetConnectionClose()
	}
	if stream := ctx.Request().BodyStream(); stream != nil && ctx.Get("X-Amz-Content-Sha256") == signedTrailer {
		utils.ContextKeyBodyReader.Set(ctx, &chunks{from: bufio.NewReader(stream)})
	}
	err := ctx.Next()
	if stream := ctx.Request().BodyStream(); stream != nil && (err != nil || ctx.Response().StatusCode() >= fiber.StatusBadRequest) {
		_, _ = io.CopyN(io.Discard, stream, refusedLimit) // the answer is another
	}
	return err
}

// chunks passes a body in chunks on, with the trailer in the form that is
// understood. What it does not understand it passes on as it is, to be refused.
type chunks struct {
	from *bufio.Reader
	head []byte // to be passed on first
	left int64  // of a chunk and the line end after it
	last bool   // there is nothing but head
}

// Read gives no more than the rest of a line, or of a chunk.
func (c *chunks) Read(p []byte) (int, error) {
	if len(c.head) == 0 && c.left == 0 && !c.last {
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	if len(c.head) > 0 {
		n := copy(p, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	if c.last {
		return 0, io.EOF
	}
	n, err := c.from.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// next reads the line that a chunk begins with, and of the last one the trailer.
func (c *chunks) next() error {
	line, err := c.from.ReadSlice('\n')
	c.head = bytes.Clone(line)
	digits, _, ok := bytes.Cut(line, []byte(";"))
	size, parseErr := strconv.ParseInt(string(digits), 16, 64)
	if err != nil || !ok || parseErr != nil || size < 0 || size > 1<<62 {
		c.left = 1 << 62 // whatever follows
		if len(c.head) > 0 {
			return nil
		}
		return err
	}
	if c.left = size + 2; size > 0 {
		return nil
	}
	rest, err := io.ReadAll(io.LimitReader(c.from, trailerLimit))
	c.head = append(c.head, bytes.Replace(rest, []byte("\n\r\n"), []byte("\r\n"), 1)...)
	c.last, c.left = true, 0
	return err
}
