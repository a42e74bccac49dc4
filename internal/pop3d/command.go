package pop3d

import (
	"context"
	"errors"
	"strings"
)

// state is a bit set of the states in which a command may come.
type state int

const (
	authorization state = 1 << iota
	transaction
	either = authorization | transaction
)

// command is one verb.
type command struct {
	state state
	bare  bool // takes no argument
	run   func(s *session, ctx context.Context, arg string)
}

// lookup finds the command of a verb in upper case.
func lookup(verb string) (command, bool) {
	switch verb {
	case "CAPA":
		return command{either, true, (*session).capa}, true
	case "STLS":
		return command{authorization, true, (*session).stls}, true
	case "USER":
		return command{authorization, false, (*session).userName}, true
	case "PASS":
		return command{authorization, false, (*session).pass}, true
	case "AUTH":
		return command{authorization, false, (*session).auth}, true
	case "UTF8":
		return command{authorization, true, (*session).utf8Mode}, true
	case "LANG":
		return command{either, false, (*session).language}, true
	case "QUIT":
		return command{either, true, (*session).quit}, true
	case "STAT":
		return command{transaction, true, (*session).stat}, true
	case "LIST":
		return command{transaction, false, (*session).list}, true
	case "UIDL":
		return command{transaction, false, (*session).uidl}, true
	case "RETR":
		return command{transaction, false, (*session).retr}, true
	case "TOP":
		return command{transaction, false, (*session).top}, true
	case "DELE":
		return command{transaction, false, (*session).dele}, true
	case "RSET":
		return command{transaction, true, (*session).rset}, true
	case "NOOP":
		return command{transaction, true, (*session).noop}, true
	}
	return command{}, false
}

var (
	errSyntax  = errors.New("cannot read this line: expected a command of letters, then its argument")
	errControl = errors.New("cannot read this line: it holds a control character")
)

// parse splits a line into its verb, in upper case, and the argument. RFC 1939
// §3: keywords are three or four letters; AUTH, LANG, UTF8 keep to that.
func parse(line []byte) (verb, arg string, err error) {
	for _, c := range line {
		if c < ' ' || c == 0x7f {
			return "", "", errControl
		}
	}
	verb, arg, _ = strings.Cut(string(line), " ")
	if len(verb) < 3 || len(verb) > 4 {
		return "", "", errSyntax
	}
	verb = strings.ToUpper(verb)
	if verb != "PASS" { // a password may end in a space (RFC 1939 §7)
		arg = strings.TrimRight(arg, " ")
	}
	return verb, arg, nil
}

// number reads a decimal number of at most 2,147,483,647.
func number(s string) (int, bool) {
	if s == "" || len(s) > 10 {
		return 0, false
	}
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int(s[i]-'0')
	}
	return n, n <= 1<<31-1
}
