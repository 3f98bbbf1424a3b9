package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// mostMessage is how many bytes one message of a room may have.
const mostMessage = 4 << 10

// rooms are where players see each other's answers, within this instance.
type rooms struct {
	mu     sync.Mutex
	byName map[string]map[*player]bool
}

// player is one WebSocket in a room.
type player struct {
	// inbox holds what is to be sent; a player who does not read it loses the line.
	inbox chan []byte
}

func newRooms() *rooms { return &rooms{byName: map[string]map[*player]bool{}} }

func (r *rooms) enter(room string, p *player) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byName[room] == nil {
		r.byName[room] = map[*player]bool{}
	}
	r.byName[room][p] = true
}

func (r *rooms) leave(room string, p *player) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byName[room], p)
	if len(r.byName[room]) == 0 {
		delete(r.byName, room)
	}
}

// tell gives a message to everybody in the room, the sender included.
func (r *rooms) tell(room string, message []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.byName[room] {
		select {
		case p.inbox <- message:
		default:
		}
	}
}

// live is a WebSocket: what one player sends, all in the room get.
func (a *app) live(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		a.log.Info("no WebSocket", "error", err)
		return
	}
	conn.SetReadLimit(mostMessage)
	room, self := r.PathValue("room"), &player{inbox: make(chan []byte, 64)}
	a.rooms.enter(room, self)
	defer a.rooms.leave(room, self)

	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			_, message, err := conn.Read(ctx)
			if err != nil {
				return
			}
			a.rooms.tell(room, message)
		}
	}()
	if err := a.deliver(ctx, conn, self, gone); err != nil {
		conn.CloseNow()
	}
	<-gone
}

// errGone says that the player has left.
var errGone = errors.New("gone")

// deliver writes the player's inbox until the player leaves, or the app does.
func (a *app) deliver(ctx context.Context, conn *websocket.Conn, self *player, gone <-chan struct{}) error {
	for {
		select {
		case <-gone:
			return errGone
		case <-a.ending:
			return conn.Close(websocket.StatusGoingAway, "this instance is leaving, please reconnect")
		case message := <-self.inbox:
			writing, cancel := context.WithTimeout(ctx, 10*time.Second)
			err := conn.Write(writing, websocket.MessageText, message)
			cancel()
			if err != nil {
				return err
			}
		}
	}
}
