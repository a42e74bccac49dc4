package authremote

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"peyk/internal/address"
	"peyk/internal/checkpassword"
	"peyk/internal/control"
	"peyk/internal/status"
)

// Limits of what is asked.
const (
	askTime   = 10 * time.Second // for one question
	maxAsking = 16               // questions to one source at one time
	maxNames  = 1_000_000        // accounts of a list
	maxFile   = 64 << 10         // octets of a file below backends/
)

// account is what a source knows besides the password, in the words of a
// userdb: home, mail, uid, gid, quota_rule and others.
type account map[string]string

// A source knows accounts. Its errors mean that nobody can tell now, and hold
// no password.
type source interface {
	// check reports whether a password is right. It works as long for an
	// account that does not exist.
	check(ctx context.Context, user address.Address, password string) (bool, error)
	// find returns an account; a source that only checks passwords finds none.
	find(ctx context.Context, user address.Address) (a account, found bool, err error)
	// list returns the addresses of all accounts.
	list(ctx context.Context) ([]string, error)
	close()
}

// openSource makes the source of a line of auth-backends; nil when it is one
// that authd asks itself.
func openSource(c *control.Config, b control.Backend) (source, error) {
	if b.Kind == "checkpassword" {
		return program{b.Args}, nil
	}
	open := map[string]func(options) (source, error){"ldap": openLDAP, "postgresql": openPostgreSQL, "sqlite": openSQLite}[b.Kind]
	if open == nil {
		return nil, nil
	}
	path := c.Path("backends", b.Args[0])
	o, err := readOptions(path)
	if err == nil {
		var s source
		if s, err = open(o); err == nil {
			return bounded{s, make(chan struct{}, maxAsking)}, nil
		}
	}
	return nil, &control.FileError{File: path, Err: err}
}

// options are the lines of a file below backends/: a name, blanks, and a value
// up to the end of the line.
type options map[string]string

func readOptions(path string) (options, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("everybody may read it (mode %04o), and it holds passwords; chmod o= it", info.Mode().Perm())
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("larger than %d octets", maxFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseOptions(string(b))
}

func parseOptions(text string) (options, error) {
	o := make(options)
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value := line, ""
		if i := strings.IndexAny(line, " \t"); i >= 0 {
			name, value = line[:i], strings.TrimSpace(line[i:])
		}
		if _, twice := o[name]; twice || value == "" {
			return nil, fmt.Errorf("line %d: expected a name that did not come before, and a value", n)
		}
		o[name] = value
	}
	return o, nil
}

// take checks that the options are among the known ones and that the needed
// ones, which come first, are there.
func (o options) take(needed int, known ...string) error {
	left := len(o)
	for i, name := range known {
		if _, given := o[name]; given {
			left--
		} else if i < needed {
			return fmt.Errorf("the line %s is missing", name)
		}
	}
	if left > 0 {
		return fmt.Errorf("a line that is not known: expected %s", strings.Join(known, ", "))
	}
	return nil
}

// bounded asks a source a limited number of questions at one time, each for a
// limited time.
type bounded struct {
	source
	places chan struct{}
}

func (b bounded) enter(ctx context.Context) (context.Context, func(), error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	select {
	case b.places <- struct{}{}:
		return ctx, func() { cancel(); <-b.places }, nil
	case <-ctx.Done():
		cancel()
		return nil, nil, errors.New("too many questions wait for an answer")
	}
}

func (b bounded) check(ctx context.Context, user address.Address, password string) (bool, error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	return b.source.check(ctx, user, password)
}

func (b bounded) find(ctx context.Context, user address.Address) (account, bool, error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return nil, false, err
	}
	defer leave()
	return b.source.find(ctx, user)
}

func (b bounded) list(ctx context.Context) ([]string, error) {
	ctx, leave, err := b.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	return b.source.list(ctx)
}

// program is a checkpassword program. Who exists the users file has to say.
type program struct{ args []string }

func (p program) check(ctx context.Context, user address.Address, password string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	err := checkpassword.Check(ctx, p.args, user.String(), password)
	if err != nil && !status.Of(err).Temporary() {
		return false, nil
	}
	return err == nil, err
}

func (program) find(context.Context, address.Address) (account, bool, error) { return nil, false, nil }
func (program) list(context.Context) ([]string, error)                       { return nil, nil }
func (program) close()                                                       {}
