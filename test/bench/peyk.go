package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// startPeyk starts a sandbox with 50 users, one mailbox to read and one to
// wait at.
func startPeyk(bin, dir string, messages int) (*peer, error) {
	env := filepath.Join(dir, "sandbox.env")
	cmd, err := background(exists(env), filepath.Join(bin, "mailctl"), "sandbox", "-dir", dir,
		"-set", "relay-networks=127.0.0.0/8", "-set", "imap-plaintext-login=127.0.0.0/8", "-set", "pop3-plaintext-login=127.0.0.0/8")
	if err != nil {
		return nil, err
	}
	mail := filepath.Join(dir, "mail", "example.test")
	if err := addUsers(filepath.Join(dir, "control", "domains", "example.test", "users")); err != nil {
		return nil, err
	}
	if err := fill(filepath.Join(mail, "reader", "Maildir"), 0, messages); err != nil {
		return nil, err
	}
	at, err := readEnv(env)
	if err != nil {
		return nil, err
	}
	spool := filepath.Join(dir, "spool")
	control := filepath.Join(dir, "control")
	return &peer{name: "peyk", index: func(on bool) error { return textIndex(bin, control, cmd, on) }, smtp: at["PEYK_SMTP"], submission: at["PEYK_SUBMISSION"], imap: at["PEYK_IMAP"],
		imaps: at["PEYK_IMAPS"], pop3: at["PEYK_POP3"],
		domain: "example.test", password: "bench", mail: mail + "/%s/Maildir",
		queue: []string{filepath.Join(spool, "drop", "new"), filepath.Join(spool, "queue")},
		roots: pidsOf(filepath.Join(dir, "run")), stop: end(cmd)}, nil
}

// textIndex turns the text index on, after it was filled, or off.
func textIndex(bin, control string, sandbox *exec.Cmd, on bool) error {
	setting := "no\n"
	if on {
		setting = "yes\n"
		out, err := exec.Command(filepath.Join(bin, "mailctl"), "-control", control, "mailbox", "index", "reader@example.test").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
	}
	if err := os.WriteFile(filepath.Join(control, "text-index"), []byte(setting), 0o600); err != nil {
		return err
	}
	if err := sandbox.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	time.Sleep(time.Second) // until imapd has read it
	return nil
}

func addUsers(table string) error {
	lines, err := os.ReadFile(table)
	if err != nil {
		return err
	}
	for i := range users {
		lines = fmt.Appendf(lines, "u%02d:{PLAIN}bench::::::\n", i)
	}
	lines = append(lines, "reader:{PLAIN}bench::::::\nidler:{PLAIN}bench::::::\n"...)
	return os.WriteFile(table, lines, 0o600)
}

// readEnv reads what a sandbox says of itself.
func readEnv(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	values := make(map[string]string)
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "=")
		values[name] = value
	}
	return values, lines.Err()
}

// pidsOf returns the pids of a sandbox's daemons.
func pidsOf(run string) func() []int {
	return func() []int {
		var pids []int
		files, _ := filepath.Glob(filepath.Join(run, "*.pid"))
		for _, file := range files {
			b, _ := os.ReadFile(file)
			if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
				pids = append(pids, pid)
			}
		}
		return pids
	}
}
