// Package control reads Peyk's configuration: a directory of small files, one
// setting each (peyk-control(5)).
//
//	hostname                       one value
//	routes                         one item a line
//	domains/example.org/users      the accounts of a domain
//	domains/example.org/aliases    its aliases
//	certs/NAME/fullchain.pem       a certificate and its key
//
// A line that begins with # is a comment; blank lines do not count; an absent
// file means the default. A setting is declared once, in this package: that
// declaration is the command-line flag, the file name, the default and the
// entry in the manual.
package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// DefaultDir is where the configuration lives unless PEYK_CONTROL or the flag
// -control names another directory. A packager may set it at build time; it is
// never written afterwards.
var DefaultDir = "/etc/peyk/control"

// maxFile is the largest control file that is read, in bytes.
const maxFile = 1 << 20

// A Kind says how the text of a setting is understood.
type Kind int

// The kinds of settings.
const (
	Text     Kind = iota // one line, as it stands
	Int                  // a decimal number, not negative
	Size                 // octets, with an optional suffix K, M or G (powers of 1,024)
	Duration             // a number with a suffix ms, s, m, h or d
	Bool                 // yes or no
	Path                 // an absolute path
	Choice               // one of Setting.Choices
	Lines                // any number of lines
	Networks             // lines, each an address or an address prefix
)

// A Setting declares one control file.
type Setting struct {
	Name     string                  // file and flag name: lower case, hyphens
	Kind     Kind                    // how it is understood
	Default  string                  // its text when the file is absent; "" is the zero value
	Choices  []string                // of a Choice
	Programs []string                // the programs that read it
	Check    func(text string) error // refuses a Text, or an item of Lines; nil takes anything
	Help     string                  // one or more sentences for the manual
}

// An Origin says where a value came from.
type Origin string

// The origins of a value, from weakest to strongest.
const (
	FromDefault Origin = "default"
	FromFile    Origin = "file"
	FromFlag    Origin = "flag"
)

// Config is the whole configuration as read at one moment. It never changes;
// a reload makes a new one.
type Config struct {
	dir    string
	values map[*Setting]value
}

type value struct {
	origin   Origin
	text     string // for one-value kinds
	number   int64  // Int, Size; Duration in nanoseconds; Bool as 0 or 1
	lines    []string
	networks []netip.Prefix
}

// FileError is a control file that cannot be used.
type FileError struct {
	File string // path of the file, or the flag
	Line int    // 1-based; 0 where no line is to blame
	Err  error
}

func (e *FileError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

// Unwrap gives the cause.
func (e *FileError) Unwrap() error { return e.Err }

// Load reads the settings from dir; flags, by setting name, take precedence
// over files. All errors are collected, so that an admin sees them at once;
// each is a *FileError.
func Load(dir string, settings []*Setting, flags map[string]string) (*Config, error) {
	c := &Config{dir: dir, values: make(map[*Setting]value)}
	var errs []error
	for _, s := range settings {
		v, err := c.load(s, flags)
		if err != nil {
			errs = append(errs, err)
		}
		c.values[s] = v
	}
	return c, errors.Join(errs...)
}

func (c *Config) load(s *Setting, flags map[string]string) (value, error) {
	if text, ok := flags[s.Name]; ok {
		return s.parse(text, "flag -"+s.Name, FromFlag)
	}
	file := c.Path(s.Name)
	text, err := readFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return s.parse(s.Default, "default of "+s.Name, FromDefault)
	}
	if err != nil {
		return value{}, &FileError{File: file, Err: err}
	}
	return s.parse(text, file, FromFile)
}

func readFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("not a regular file")
	}
	if info.Size() > maxFile {
		return "", fmt.Errorf("larger than %d bytes", maxFile)
	}
	b, err := os.ReadFile(path)
	return string(b), err
}

// Dir returns the directory that was read.
func (c *Config) Dir() string { return c.dir }

// Path returns the path of a file below the control directory.
func (c *Config) Path(elem ...string) string {
	return filepath.Join(append([]string{c.dir}, elem...)...)
}

// Text returns a Text, Path or Choice setting.
func (c *Config) Text(s *Setting) string { return c.get(s).text }

// Int returns an Int setting.
func (c *Config) Int(s *Setting) int { return int(c.get(s).number) }

// Size returns a Size setting, in octets.
func (c *Config) Size(s *Setting) int64 { return c.get(s).number }

// Duration returns a Duration setting.
func (c *Config) Duration(s *Setting) time.Duration { return time.Duration(c.get(s).number) }

// Bool returns a Bool setting.
func (c *Config) Bool(s *Setting) bool { return c.get(s).number != 0 }

// Lines returns the items of a Lines setting. The slice must not be changed.
func (c *Config) Lines(s *Setting) []string { return c.get(s).lines }

// Networks returns a Networks setting. The slice must not be changed.
func (c *Config) Networks(s *Setting) []netip.Prefix { return c.get(s).networks }

// Origin says where the value of s came from.
func (c *Config) Origin(s *Setting) Origin { return c.get(s).origin }

// Raw returns the text of s as a control file would hold it, lines joined by
// newlines.
func (c *Config) Raw(s *Setting) string {
	v := c.get(s)
	if s.list() {
		return strings.Join(v.lines, "\n")
	}
	return v.text
}

// get panics on a setting that was not loaded: a defect of the program, which
// each program's first test would meet.
func (c *Config) get(s *Setting) value {
	v, ok := c.values[s]
	if !ok {
		panic("control: setting " + s.Name + " is not among those loaded")
	}
	return v
}

func (s *Setting) list() bool { return s.Kind == Lines || s.Kind == Networks }

// parse understands text, which came from the file or flag named source.
func (s *Setting) parse(text, source string, origin Origin) (value, error) {
	v := value{origin: origin}
	if origin == FromFlag && s.list() {
		text = strings.ReplaceAll(text, `\n`, "\n")
	}
	var numbers []int
	v.lines, numbers = significant(text)
	if s.list() {
		return s.parseList(v, numbers, source)
	}
	if len(v.lines) > 1 {
		return v, &FileError{source, numbers[1], errors.New("more than one value; expected one line")}
	}
	if len(v.lines) == 0 {
		if s.Kind != Text && s.Kind != Path && s.Default != "" {
			return v, &FileError{source, 0, errors.New("empty; remove the file to get the default " + s.Default)}
		}
		return v, nil
	}
	v.text = v.lines[0]
	v.lines = nil
	var err error
	v.number, err = s.number(v.text)
	if err != nil {
		return v, &FileError{source, numbers[0], err}
	}
	return v, nil
}

func (s *Setting) parseList(v value, numbers []int, source string) (value, error) {
	for i, line := range v.lines {
		if s.Kind == Lines {
			if err := s.check(line); err != nil {
				return v, &FileError{source, numbers[i], err}
			}
			continue
		}
		p, err := ParseNetwork(line)
		if err != nil {
			return v, &FileError{source, numbers[i], err}
		}
		v.networks = append(v.networks, p)
	}
	return v, nil
}

// significant returns the lines that are neither blank nor comments, trimmed,
// and their 1-based numbers.
func significant(text string) (lines []string, numbers []int) {
	n := 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		lines = append(lines, line)
		numbers = append(numbers, n)
	}
	return lines, numbers
}

func (s *Setting) check(text string) error {
	if s.Check == nil {
		return nil
	}
	return s.Check(text)
}

func (s *Setting) number(text string) (int64, error) {
	switch s.Kind {
	case Text:
		return 0, s.check(text)
	case Int:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("cannot use %q: expected a number from 0 to 2147483647", text)
		}
		return n, nil
	case Size:
		return ParseSize(text)
	case Duration:
		d, err := ParseDuration(text)
		return int64(d), err
	case Bool:
		return parseBool(text)
	case Path:
		if !filepath.IsAbs(text) {
			return 0, fmt.Errorf("cannot use %q: expected an absolute path", text)
		}
	case Choice:
		return 0, s.checkChoice(text)
	}
	return 0, nil
}

func (s *Setting) checkChoice(text string) error {
	for _, c := range s.Choices {
		if c == text {
			return nil
		}
	}
	return fmt.Errorf("cannot use %q: expected one of %s", text, strings.Join(s.Choices, ", "))
}

func parseBool(text string) (int64, error) {
	switch text {
	case "yes":
		return 1, nil
	case "no":
		return 0, nil
	}
	return 0, fmt.Errorf("cannot use %q: expected yes or no", text)
}

// ParseSize reads a number of octets, such as "50M".
func ParseSize(text string) (int64, error) {
	shift := 0
	digits := text
	if n := len(text) - 1; n > 0 {
		if i := strings.IndexByte("KMG", text[n]); i >= 0 {
			shift, digits = 10*(i+1), text[:n]
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > (1<<62)>>shift {
		return 0, fmt.Errorf("cannot use %q: expected a size such as 512K, 50M or 2G", text)
	}
	return n << shift, nil
}

// ParseDuration reads a duration such as "90s", "5m", "4h" or "5d".
func ParseDuration(text string) (time.Duration, error) {
	bad := fmt.Errorf("cannot use %q: expected a duration such as 30s, 5m, 4h or 5d", text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 32)
		if err != nil || n < 0 || n > 36500 {
			return 0, bad
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, bad
	}
	return d, nil
}

// ParseNetwork reads an address, or an address prefix such as "10.0.0.0/8".
func ParseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("cannot use %q: expected an address or a prefix such as 192.0.2.0/24", text)
	}
	return p.Masked(), nil
}
