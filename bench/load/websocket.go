package load

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// beat is how often a WebSocket says something and expects to hear it back.
const beat = 500 * time.Millisecond

// socketClient is a WebSocket whose server sends back what it is sent.
type socketClient struct {
	sender *sender
	record *record
	result *StreamResult
}

func (c *socketClient) stream(ctx context.Context, path string, client int) StreamEnd {
	dialing, cancel := context.WithTimeout(ctx, c.sender.options.Timeout)
	defer cancel()
	conn, answer, err := websocket.Dial(dialing, c.sender.options.Target+path, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: c.sender.transports.keepAlive},
	})
	if err != nil {
		return endedByError("", "not connected: %v", err)
	}
	defer func() { _ = conn.CloseNow() }()
	c.record.opened(c.result)
	instance := header(answer, c.sender.options.InstanceHeader)

	heard := make(chan string)
	ended := make(chan error, 1)
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go func() {
		for {
			_, message, err := conn.Read(reading)
			if err != nil {
				ended <- err
				return
			}
			select {
			case heard <- string(message):
			case <-reading.Done():
				return
			}
		}
	}()
	return c.talk(ctx, conn, instance, client, heard, ended)
}

// talk says something now and then, and expects to hear it.
func (c *socketClient) talk(ctx context.Context, conn *websocket.Conn, instance string, client int, heard <-chan string, ended <-chan error) StreamEnd {
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	silence := time.NewTimer(c.sender.options.WebSockets.Silence)
	defer silence.Stop()
	said, count := "", 0
	for {
		select {
		case <-ctx.Done():
			conn.Close(websocket.StatusNormalClosure, "")
			return StreamEnd{}
		case err := <-ended:
			return classifyClose(instance, err)
		case <-silence.C:
			return endedByError(instance, "%v", errSilent)
		case message := <-heard:
			if message != said {
				return endedByError(instance, "said %q, heard %q", said, message)
			}
			said = ""
			silence.Reset(c.sender.options.WebSockets.Silence)
			c.record.heard(c.result)
		case <-ticker.C:
			if said != "" {
				continue
			}
			count++
			said = fmt.Sprintf("client %d, message %d", client, count)
			// An error of the write is one of the read too, which knows the close frame.
			_ = conn.Write(context.WithoutCancel(ctx), websocket.MessageText, []byte(said))
		}
	}
}

// classifyClose tells a server that leaves from one that is lost.
func classifyClose(instance string, err error) StreamEnd {
	switch status := websocket.CloseStatus(err); status {
	case websocket.StatusGoingAway, websocket.StatusServiceRestart:
		return endedByDrain(instance, "close %d", int(status))
	case -1:
		return endedByError(instance, "dropped without a close frame: %v", err)
	default:
		return endedByError(instance, "close %d", int(status))
	}
}
