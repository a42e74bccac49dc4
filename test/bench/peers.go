package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// users is how many mailboxes the SMTP rows spread over.
const users = 50

// owner owns the mail of the peers that refuse to work for root.
const owner = 5999

// A peer is one server under test.
type peer struct {
	name       string
	smtp       string       // address
	submission string       // address for STARTTLS and AUTH, if it has one
	lmtp       string       // address, if mail comes in by LMTP
	imap       string       // address
	imaps      string       // address with TLS from the beginning
	pop3       string       // address
	domain     string       // of the users
	password   string       // of each of them
	mail       string       // pattern of a user's Maildir, with %s
	queue      []string     // directories of its queue
	roots      func() []int // the processes that it is made of
	stop       func()
	index      func(on bool) error // turns a text index on, filled, or off; nil: it has none
	large      int                 // messages in its large folder
	fresh      float64             // MB of PSS before the idle rows
}

func (p *peer) user(n int) string    { return fmt.Sprintf("u%02d@%s", n%users, p.domain) }
func (p *peer) maildir(n int) string { return fmt.Sprintf(p.mail, fmt.Sprintf("u%02d", n)) }

func freePort() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "0"
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// background starts a server in its own process group and waits until it is
// ready.
func background(ready func() bool, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(args[0], args[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	for range 3000 {
		if ready() {
			return cmd, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	end(cmd)()
	return nil, fmt.Errorf("%s does not start: %s", args[0], out.String())
}

func answers(addr string) func() bool {
	return func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
}

func exists(file string) func() bool {
	return func() bool {
		_, err := os.Stat(file)
		return err == nil
	}
}

// writeFiles writes the files of a configuration.
func writeFiles(dir string, files map[string]string) error {
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func end(cmd *exec.Cmd) func() {
	return func() {
		cmd.Process.Signal(syscall.SIGTERM)
		done := make(chan struct{})
		go func() { cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(15 * time.Second):
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	}
}

// root returns the process below which all others of a server are.
func root(cmd *exec.Cmd) func() []int {
	return func() []int { return []int{cmd.Process.Pid} }
}

// makeMaildirs makes the mailboxes that a server does not make itself.
func makeMaildirs(mail string) error {
	for i := range users {
		for _, sub := range []string{"cur", "new", "tmp"} {
			if err := os.MkdirAll(filepath.Join(mail, fmt.Sprintf("u%02d", i), "Maildir", sub), 0o700); err != nil {
				return err
			}
		}
	}
	return chownAll(mail, owner)
}
