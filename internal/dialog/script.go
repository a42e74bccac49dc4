package dialog

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// A script is a parsed dialogue.
type script struct {
	path     string
	rule     string // the first comment
	settings map[string]string
	steps    []step
}

// A step is one line of a dialogue.
type step struct {
	line   int // 1-based
	verb   string
	text   string // of C: S: S* S! connect; decoded for B:
	number int    // of use
	times  int    // of REPEAT; else 1
	wait   time.Duration
}

func parseFile(path string) (*script, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parse(path, string(b))
}

func parse(path, text string) (*script, error) {
	s := &script{path: path, settings: map[string]string{}}
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		if err := s.line(n, line); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
	if s.rule == "" {
		return nil, fmt.Errorf("%s:1: no comment that names the rule tested", path)
	}
	return s, nil
}

func (s *script) line(n int, line string) error {
	if strings.TrimSpace(line) == "" {
		return nil
	}
	if comment, ok := strings.CutPrefix(line, "#"); ok {
		if s.rule == "" {
			s.rule = strings.TrimSpace(comment)
		}
		return nil
	}
	if setting, ok := strings.CutPrefix(line, "set "); ok {
		return s.set(setting)
	}
	st, err := parseStep(line)
	if err != nil {
		return err
	}
	st.line = n
	s.steps = append(s.steps, st)
	return nil
}

func (s *script) set(setting string) error {
	name, value, ok := strings.Cut(setting, "=")
	if !ok {
		return errors.New("expected set NAME=VALUE")
	}
	s.settings[strings.TrimSpace(name)] = value
	return nil
}

func parseStep(line string) (step, error) {
	verb, rest, _ := strings.Cut(line, " ")
	st := step{verb: verb, text: rest, times: 1}
	var err error
	switch verb {
	case "C:", "S:", "S*", "S!":
	case "connect", "EOF", "STARTTLS", "HALFCLOSE", "CLOSE":
		st.text = strings.TrimSpace(rest)
	case "B:":
		st.text, err = unescape(rest)
	case "use":
		st.number, err = strconv.Atoi(strings.TrimSpace(rest))
	case "WAIT":
		st.wait, err = time.ParseDuration(strings.TrimSpace(rest))
	case "REPEAT":
		return parseRepeat(rest)
	default:
		err = fmt.Errorf("unknown step %q", verb)
	}
	return st, err
}

func parseRepeat(rest string) (step, error) {
	count, inner, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 {
		return step{}, fmt.Errorf("expected REPEAT n STEP, got %q", rest)
	}
	st, err := parseStep(inner)
	if err != nil {
		return st, err
	}
	if !strings.Contains("C: B: S: S*", st.verb) {
		return st, fmt.Errorf("cannot repeat %q", st.verb)
	}
	st.times = n
	return st, nil
}

// unescape decodes Go escapes; a quotation mark stands for itself.
func unescape(s string) (string, error) {
	var b strings.Builder
	for s != "" {
		if s[0] == '"' {
			b.WriteByte('"')
			s = s[1:]
			continue
		}
		r, multibyte, tail, err := strconv.UnquoteChar(s, '"')
		if err != nil {
			return "", fmt.Errorf("bad escape at %q", s)
		}
		if multibyte {
			b.WriteRune(r)
		} else {
			b.WriteByte(byte(r))
		}
		s = tail
	}
	return b.String(), nil
}

// match reports whether s matches the glob, in which * is any run of bytes.
func match(glob, s string) bool {
	head, rest, star := strings.Cut(glob, "*")
	if !star {
		return s == glob
	}
	s, ok := strings.CutPrefix(s, head)
	if !ok {
		return false
	}
	for {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], next
	}
}
