package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// configuration is how Icecast runs as a process of an app: it listens on $PORT,
// writes its log to the output, and changes neither its root nor its user. It
// refuses to be root; instances of a platform that is root have a user of their own.
const configuration = `<icecast>
  <limits><clients>10000</clients><sources>2</sources><queue-size>4194304</queue-size><burst-on-connect>0</burst-on-connect></limits>
  <authentication><source-password>%[1]s</source-password><admin-password>%[1]s</admin-password></authentication>
  <hostname>localhost</hostname>
  <listen-socket><port>%[2]s</port><bind-address>%[3]s</bind-address></listen-socket>
  <paths><basedir>/usr/share/icecast2</basedir><logdir>%[4]s</logdir><webroot>/usr/share/icecast2/web</webroot><adminroot>/usr/share/icecast2/admin</adminroot></paths>
  <logging><accesslog>-</accesslog><errorlog>-</errorlog><loglevel>2</loglevel></logging>
  <security><chroot>0</chroot></security>
</icecast>
`

// password is what the source says to Icecast, within the instance.
const password = "between us"

// radio runs Icecast and is its source. The stream consists of numbered lines
// of 16 bytes, $RATE of them a second.
func radio(host, port string) error {
	rate, err := strconv.Atoi(os.Getenv("RATE"))
	if err != nil {
		return err
	}
	folder := os.Getenv("TMPDIR")
	file := filepath.Join(folder, "icecast.xml")
	if err := os.WriteFile(file, fmt.Appendf(nil, configuration, password, port, host, folder), 0o600); err != nil {
		return err
	}
	server := exec.CommandContext(context.Background(), "icecast2", "-c", file)
	server.Stdout, server.Stderr = os.Stdout, os.Stderr
	if err := server.Start(); err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- server.Wait() }()
	go func() { ended <- send(net.JoinHostPort(host, port), rate) }()
	return <-ended
}

// send is the source, until something goes wrong.
func send(address string, rate int) error {
	conn, err := connect(address)
	if err != nil {
		return err
	}
	defer conn.Close()
	token := base64.StdEncoding.EncodeToString([]byte("source:" + password))
	fmt.Fprintf(conn, "PUT /live HTTP/1.1\r\nHost: %s\r\nAuthorization: Basic %s\r\nContent-Type: audio/mpeg\r\n\r\n", address, token)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New("icecast says " + answer.Status)
	}
	began, sent := time.Now(), 0
	for range time.Tick(time.Second) { // Icecast has a write for each listener each time
		var lines []byte
		for due := int(time.Since(began).Seconds() * float64(rate)); sent < due; sent++ {
			lines = fmt.Appendf(lines, "%015d\n", sent)
		}
		if _, err := conn.Write(lines); err != nil {
			return err
		}
	}
	return nil
}

// connect waits until the server listens.
func connect(address string) (net.Conn, error) {
	var dialer net.Dialer
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := dialer.DialContext(context.Background(), "tcp", address)
		if err == nil || time.Now().After(deadline) {
			return conn, err
		}
	}
}

// onAir says whether listeners would hear something.
func onAir(address string) error {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://"+address+"/live", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New("icecast says " + answer.Status)
	}
	return nil
}
