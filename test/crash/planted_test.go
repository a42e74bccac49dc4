package crash_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"peyk/test/crash/supervise"
)

// A planted bug is a change of one file of the product, for one build.
type planted struct {
	name     string
	file     string // below the root of the module
	old, new string
	program  string
	path     path
	fault    supervise.Fault // a zero one: a run without a fault shows it
}

var eio = supervise.Fault{Action: supervise.Fail, Errno: syscall.EIO}

var plantedBugs = []planted{
	{"no flush of the file", "internal/commit/commit.go", "\treturn f.Sync()\n", "\treturn nil\n", "smtpd", smtpPaths[0].path(), supervise.Fault{}},
	{"no flush of the directory", "internal/commit/dirsync.go", "func (d *Disk) SyncDir(dir string) error {\n", "func (d *Disk) SyncDir(dir string) error {\n\treturn nil\n", "deliver", deliverPaths[0].path(), supervise.Fault{}},
	{"a rename's error is overlooked", "internal/commit/commit.go", "return &os.LinkError{Op: \"rename\", Old: from, New: to, Err: err}", "return nil", "deliver", deliverPaths[0].path(), eio},
	{"an error of a write is overlooked", "internal/spool/reuse.go", "if _, err := w.file.WriteAt(*w.buf, 0); err != nil {\n\t\treturn err", "if _, err := w.file.WriteAt(*w.buf, 0); err != nil {\n\t\t_ = err", "smtpd", smtpPaths[0].path(), eio},
}

// The harness finds each planted bug: a build of one program that has it.
func TestPlantedBugsAreFound(t *testing.T) {
	if os.Getenv("PEYK_CRASH") == "" {
		t.Skip("make crash runs it")
	}
	good := build(t)
	for _, b := range plantedBugs {
		t.Run(b.name, func(t *testing.T) {
			bin := b.build(t, good)
			w := newWorld(t, bin, b.path.settings...)
			b.path.prepare(w)
			w.keep(b.path.name)
			if found := b.find(w); found == 0 {
				t.Error("it was not found")
			} else {
				t.Logf("%d runs show it", found)
			}
		})
	}
}

// find counts the runs that show something wrong.
func (b planted) find(w *world) (found int) {
	for n := 1; ; n++ {
		w.reset(b.path.name)
		r := &run{world: w, fault: b.fault}
		if b.fault.Action != "" {
			r.fault.N = n
		}
		b.path.try(r, nil)
		if len(r.problems) > 0 {
			found++
		}
		if !r.hit {
			return found
		}
	}
}

// build makes a directory with the good programs and the bad one.
func (b planted) build(t *testing.T, good string) string {
	t.Helper()
	dir, root := t.TempDir(), "../.."
	file, err := filepath.Abs(filepath.Join(root, b.file))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), b.old) != 1 {
		t.Fatalf("%s does not hold the line to spoil: %q", b.file, b.old)
	}
	bad := filepath.Join(dir, "bad.go")
	os.WriteFile(bad, []byte(strings.Replace(string(text), b.old, b.new, 1)), 0o600)
	overlay, _ := json.Marshal(map[string]map[string]string{"Replace": {file: bad}})
	os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600)
	programs, err := filepath.Glob(good + "/*")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	os.Mkdir(bin, 0o755)
	for _, p := range programs {
		if filepath.Base(p) != b.program {
			os.Symlink(p, filepath.Join(bin, filepath.Base(p)))
		}
	}
	cmd := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", filepath.Join(bin, b.program), "peyk/cmd/"+b.program)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}
