// Package authstate keeps what authd must remember over a restart, in files
// below the control auth-state that only authd writes: which codes of second
// factors are used up, and when each app password was last used.
//
// A file is a list of lines to which more are added. A line that a crash cut
// short is no line; a file that has grown is written anew with what still
// counts.
package authstate

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"peyk/internal/commit"
)

// The files.
const (
	codesFile = "second-factor"
	usesFile  = "app-passwords"
)

// maxFile is the largest file that is read, and slack how many lines a file
// may have beyond twice those that count.
const (
	maxFile = 64 << 20
	slack   = 1000
)

// ErrUsed is the error of a code that was used before.
var ErrUsed = errors.New("the code was used before")

// State is the directory. It is safe for concurrent use. Nothing is read or
// made before it is needed.
type State struct {
	codes *journal[codeKey, int64]
	uses  *journal[useKey, Use]
}

// codeKey names a recovery code of an account by its hash, or with none the
// last step.
type codeKey struct{ user, hash string }

type useKey struct{ user, id string }

// Use is the last use of an app password.
type Use struct {
	Time    time.Time
	Address string // of the client; "" when unknown
	Service string
}

// New returns the state in a directory, which must exist when something is to
// be remembered.
func New(dir string, disk *commit.Disk) *State {
	return &State{
		codes: &journal[codeKey, int64]{path: filepath.Join(dir, codesFile), disk: disk, parse: parseCode, format: formatCode},
		uses:  &journal[useKey, Use]{path: filepath.Join(dir, usesFile), disk: disk, parse: parseUse, format: formatUse},
	}
}

// Close closes the files.
func (s *State) Close() {
	s.codes.close()
	s.uses.close()
}

// LastStep returns the step of the code that an account used last, 0 before
// the first.
func (s *State) LastStep(user string) (int64, error) {
	step, _, err := s.codes.get(codeKey{user: user})
	return step, err
}

// UseStep uses the code of a step up, durably. A step that is not after the
// last one is ErrUsed.
func (s *State) UseStep(user string, step int64) error {
	return s.codes.change(codeKey{user: user}, step, func(last int64, _ bool) error {
		if step <= last {
			return ErrUsed
		}
		return nil
	})
}

// CodeUsed reports whether the recovery code of a hash is used up.
func (s *State) CodeUsed(user, hash string) (bool, error) {
	_, used, err := s.codes.get(codeKey{user, hash})
	return used, err
}

// UseCode uses a recovery code up, durably; one that is, is ErrUsed.
func (s *State) UseCode(user, hash string) error {
	return s.codes.change(codeKey{user, hash}, 1, func(_ int64, used bool) error {
		if used {
			return ErrUsed
		}
		return nil
	})
}

// sameUse is how long uses of one app password from one address by one
// service are one.
const sameUse = time.Minute

// NoteUse remembers the use of an app password. It need not survive a power
// cut.
func (s *State) NoteUse(user, id string, u Use) error {
	err := s.uses.note(useKey{user, id}, u, func(last Use, known bool) error {
		if known && last.Address == u.Address && last.Service == u.Service && u.Time.Sub(last.Time) < sameUse {
			return ErrUsed
		}
		return nil
	})
	if errors.Is(err, ErrUsed) {
		return nil
	}
	return err
}

// LastUse returns the last use of an app password.
func (s *State) LastUse(user, id string) (u Use, found bool, err error) {
	return s.uses.get(useKey{user, id})
}

func parseCode(line string) (k codeKey, step int64, ok bool) {
	f := strings.Split(line, " ")
	if len(f) != 3 || f[0] == "" {
		return k, 0, false
	}
	switch f[1] {
	case "step":
		n, err := strconv.ParseInt(f[2], 10, 64)
		return codeKey{user: f[0]}, n, err == nil
	case "code":
		return codeKey{f[0], f[2]}, 1, f[2] != ""
	}
	return k, 0, false
}

func formatCode(k codeKey, step int64) string {
	if k.hash != "" {
		return k.user + " code " + k.hash
	}
	return k.user + " step " + strconv.FormatInt(step, 10)
}

func parseUse(line string) (k useKey, u Use, ok bool) {
	f := strings.Split(line, " ")
	if len(f) != 5 || f[0] == "" || f[1] == "" {
		return k, u, false
	}
	t, err := time.Parse(time.RFC3339, f[2])
	return useKey{f[0], f[1]}, Use{t, strings.TrimPrefix(f[3], "-"), strings.TrimPrefix(f[4], "-")}, err == nil
}

func formatUse(k useKey, u Use) string {
	return strings.Join([]string{k.user, k.id, u.Time.UTC().Format(time.RFC3339), orDash(u.Address), orDash(u.Service)}, " ")
}

func orDash(s string) string {
	if s == "" || strings.ContainsAny(s, " \n") {
		return "-"
	}
	return s
}

// journal is one file: values by key, of which the last line counts.
type journal[K comparable, V any] struct {
	path   string
	disk   *commit.Disk
	parse  func(line string) (K, V, bool)
	format func(K, V) string

	mu     sync.Mutex
	loaded bool
	values map[K]V
	lines  int
	file   *os.File
}

// get returns a value.
func (j *journal[K, V]) get(k K) (v V, found bool, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.load(); err != nil {
		return v, false, err
	}
	v, found = j.values[k]
	return v, found, nil
}

// change sets a value, durably, unless may refuses with the old one.
func (j *journal[K, V]) change(k K, v V, may func(old V, found bool) error) error {
	return j.set(k, v, may, j.disk.Append)
}

// note is change, but not durable.
func (j *journal[K, V]) note(k K, v V, may func(old V, found bool) error) error {
	return j.set(k, v, may, func(f *os.File, line []byte) error {
		_, err := f.Write(line)
		return err
	})
}

func (j *journal[K, V]) set(k K, v V, may func(V, bool) error, add func(*os.File, []byte) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.open(); err != nil {
		return err
	}
	old, found := j.values[k]
	if err := may(old, found); err != nil {
		return err
	}
	line := j.format(k, v)
	if strings.Contains(line, "\n") {
		return fmt.Errorf("cannot remember a name with a line end in %s", j.path)
	}
	if err := add(j.file, []byte(line+"\n")); err != nil {
		j.forget() // the file may end in half a line
		return err
	}
	j.values[k] = v
	j.lines++
	return nil
}

// load reads the file once.
func (j *journal[K, V]) load() error {
	if j.loaded {
		return nil
	}
	f, err := os.Open(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(filepath.Dir(j.path))
		if err != nil {
			return fmt.Errorf("the directory of the control auth-state: %w", err)
		}
		j.values, j.loaded = make(map[K]V), true
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return err
	}
	if len(text) > maxFile {
		return fmt.Errorf("%s is larger than %d bytes", j.path, maxFile)
	}
	j.read(text)
	j.loaded = true
	return nil
}

func (j *journal[K, V]) read(text []byte) {
	j.values, j.lines = make(map[K]V), 0
	for line := range bytes.Lines(text) {
		j.lines++
		whole, complete := bytes.CutSuffix(line, []byte("\n"))
		if k, v, ok := j.parse(string(whole)); ok && complete {
			j.values[k] = v
		}
	}
}

// open makes the file ready for one more line. It is written anew when it has
// grown, and when it is opened: its last line may lack its end.
func (j *journal[K, V]) open() error {
	if err := j.load(); err != nil {
		return err
	}
	if j.file != nil && j.lines <= 2*len(j.values)+slack {
		return nil
	}
	j.close()
	var text strings.Builder
	for k, v := range j.values {
		text.WriteString(j.format(k, v) + "\n")
	}
	if err := j.disk.ReplaceFile(j.path, []byte(text.String()), 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(j.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	j.file, j.lines = f, len(j.values)
	return nil
}

// forget has the file read again.
func (j *journal[K, V]) forget() {
	j.close()
	j.loaded = false
}

func (j *journal[K, V]) close() {
	if j.file != nil {
		j.file.Close()
		j.file = nil
	}
}
