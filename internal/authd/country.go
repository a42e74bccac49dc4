package authd

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"time"

	"peyk/internal/table"
)

// Limits of the country command.
const (
	countryTime   = 5 * time.Second
	countryKept   = time.Hour
	maxCountries  = 10000
	countryOutput = 4 << 10 // octets that are read
	countryAtOnce = 4       // programs at one time
)

// countries knows where addresses are, by a program of the admin's.
type countries struct {
	now func() time.Time
	run func(ctx context.Context, argv []string) ([]byte, error)

	turns chan struct{}
	mu    sync.Mutex
	known map[countryKey]country
}

type countryKey struct {
	command string
	ip      netip.Addr
}

type country struct {
	code  string
	until time.Time
}

func newCountries(now func() time.Time) *countries {
	return &countries{now: now, run: output, turns: make(chan struct{}, countryAtOnce), known: make(map[countryKey]country)}
}

// of returns the country of an address, "" if the command knows none. An error
// means that nobody can tell now.
func (c *countries) of(ctx context.Context, command string, ip netip.Addr) (string, error) {
	if command == "" {
		return "", errors.New("a country counts in the access tables, but the control country-command names no program")
	}
	key := countryKey{command, ip}
	c.mu.Lock()
	have, ok := c.known[key]
	c.mu.Unlock()
	if ok && c.now().Before(have.until) {
		return have.code, nil
	}
	code, err := c.ask(ctx, append(strings.Fields(command), ip.String()))
	if err != nil {
		return "", fmt.Errorf("ask the country command: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxCountries {
		clear(c.known)
	}
	c.known[key] = country{code, c.now().Add(countryKept)}
	return code, nil
}

func (c *countries) ask(ctx context.Context, argv []string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, countryTime)
	defer cancel()
	select {
	case c.turns <- struct{}{}:
		defer func() { <-c.turns }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	out, err := c.run(ctx, argv)
	if err != nil {
		return "", err
	}
	return countryIn(string(out)), nil
}

// countryIn returns the first word of two capital letters, so that the output
// of geoiplookup(1), mmdblookup(1) and of one's own script will do.
func countryIn(out string) string {
	for word := range strings.FieldsFuncSeq(out, func(r rune) bool { return strings.ContainsRune(" \t\r\n\",:", r) }) {
		if table.IsCountry(word) {
			return word
		}
	}
	return ""
}

// output runs a program, with nothing to read, and returns the beginning of
// what it prints.
func output(ctx context.Context, argv []string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	out := &limited{left: countryOutput}
	cmd.Stdout = out
	cmd.Stderr = new(limited) // a pipe: the sandbox opens no /dev/null for writing
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	cmd.WaitDelay = time.Second // a grandchild may hold the pipe
	err := cmd.Run()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return out.kept, err
}

// limited keeps the beginning of what is written to it.
type limited struct {
	kept []byte
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	l.kept = append(l.kept, p[:n]...)
	return len(p), nil
}
