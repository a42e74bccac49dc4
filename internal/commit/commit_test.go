package commit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var errInjected = errors.New("injected")

func record(steps *[]string) func(Step, string) error {
	return func(s Step, path string) error {
		*steps = append(*steps, string(s)+" "+filepath.Base(path))
		return nil
	}
}

func TestPublishOrder(t *testing.T) {
	dir := t.TempDir()
	var steps []string
	d := &Disk{Hook: record(&steps)}
	f, err := d.Create(filepath.Join(dir, "tmp"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("hello")
	if err := f.Publish(filepath.Join(dir, "final")); err != nil {
		t.Fatal(err)
	}
	want := []string{"create tmp", "fsync tmp", "rename final", "fsync-dir " + filepath.Base(dir)}
	if !slices.Equal(steps, want) {
		t.Fatalf("steps %q, want %q", steps, want)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "final")); string(b) != "hello" {
		t.Fatalf("content %q", b)
	}
}

func TestPublishCheckedIsOneFlush(t *testing.T) {
	dir := t.TempDir()
	var steps []string
	d := &Disk{Hook: record(&steps)}
	f, _ := d.Create(filepath.Join(dir, "tmp"), 0o600)
	if err := f.PublishChecked(filepath.Join(dir, "final")); err != nil {
		t.Fatal(err)
	}
	if want := []string{"create tmp", "rename final", "fsync tmp"}; !slices.Equal(steps, want) {
		t.Fatalf("steps %q, want %q", steps, want)
	}
}

// Each step of each recipe fails in turn: the error comes back and nothing is
// left, under either name.
func TestAFailedStepLeavesNothing(t *testing.T) {
	recipes := map[string]func(*File, string) error{
		"publish": (*File).Publish,
		"checked": (*File).PublishChecked,
	}
	for name, publish := range recipes {
		for _, bad := range []Step{StepSync, StepRename, StepSyncDir} {
			if name == "checked" && bad == StepSyncDir {
				continue // it has no such step
			}
			t.Run(name+"/"+string(bad), func(t *testing.T) {
				dir := t.TempDir()
				d := &Disk{Hook: func(s Step, _ string) error {
					if s == bad {
						return errInjected
					}
					return nil
				}}
				f, err := d.Create(filepath.Join(dir, "tmp"), 0o600)
				if err != nil {
					t.Fatal(err)
				}
				if err := publish(f, filepath.Join(dir, "final")); !errors.Is(err, errInjected) {
					t.Fatalf("error %v, want the injected one", err)
				}
				if left, _ := os.ReadDir(dir); len(left) != 0 {
					t.Fatalf("left behind: %v", left)
				}
			})
		}
	}
}

func TestPublishNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	final := filepath.Join(dir, "final")
	os.WriteFile(final, []byte("old"), 0o600)
	var d Disk
	f, _ := d.Create(filepath.Join(dir, "tmp"), 0o600)
	if err := f.Publish(final); !errors.Is(err, os.ErrExist) {
		t.Fatalf("error %v, want ErrExist", err)
	}
	if b, _ := os.ReadFile(final); string(b) != "old" {
		t.Fatalf("overwritten with %q", b)
	}
}

func TestMoveUnsyncedNeverOverwrites(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	os.WriteFile(a, []byte("new"), 0o600)
	os.WriteFile(b, []byte("old"), 0o600)
	d := new(Disk)
	if err := d.MoveUnsynced(a, b); !errors.Is(err, os.ErrExist) {
		t.Fatalf("error %v, want ErrExist", err)
	}
	if got, _ := os.ReadFile(b); string(got) != "old" {
		t.Fatalf("content %q", got)
	}
	if err := d.MoveUnsynced(a, filepath.Join(dir, "c")); err != nil {
		t.Fatal(err)
	}
}

func TestReplaceFileKeepsOldContentOnFailure(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "users")
	os.WriteFile(path, []byte("old"), 0o600)
	d := &Disk{Hook: func(s Step, _ string) error {
		if s == StepSync {
			return errInjected
		}
		return nil
	}}
	if err := d.ReplaceFile(path, []byte("new"), 0o600); !errors.Is(err, errInjected) {
		t.Fatalf("error %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "old" {
		t.Fatalf("content %q", b)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Fatalf("left behind: %v", left)
	}
	if err := new(Disk).ReplaceFile(path, []byte("new"), 0o640); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(path); string(b) != "new" {
		t.Fatalf("content %q", b)
	}
}

func TestAbortAfterPublishDoesNothing(t *testing.T) {
	dir := t.TempDir()
	var d Disk
	f, _ := d.Create(filepath.Join(dir, "tmp"), 0o600)
	if err := f.Publish(filepath.Join(dir, "final")); err != nil {
		t.Fatal(err)
	}
	f.Abort()
	if _, err := os.Stat(filepath.Join(dir, "final")); err != nil {
		t.Fatal(err)
	}
}

// Callers that arrive while a sync of the directory runs share the next one,
// and none returns before a sync that began after its change has ended.
func TestSyncDirIsShared(t *testing.T) {
	dir := t.TempDir()
	var mu sync.Mutex
	syncs := 0
	entered, release := make(chan struct{}), make(chan struct{})
	d := &Disk{Hook: func(s Step, _ string) error {
		mu.Lock()
		syncs++
		first := syncs == 1
		mu.Unlock()
		if first {
			close(entered)
			<-release
		}
		return nil
	}}
	var wg sync.WaitGroup
	wg.Go(func() { d.SyncDir(dir) })
	<-entered
	for range 50 {
		wg.Go(func() { d.SyncDir(dir) })
	}
	for { // all 50 have joined once the directory's next round exists and they block
		d.mu.Lock()
		joined := d.dirs[dir].next != nil
		d.mu.Unlock()
		if joined {
			break
		}
	}
	close(release)
	wg.Wait()
	if syncs < 2 || syncs > 51 {
		t.Fatalf("%d syncs for 51 callers", syncs)
	}
	for remembered := 1; remembered > 0; { // the last round cleans up behind its callers
		d.mu.Lock()
		remembered = len(d.dirs)
		d.mu.Unlock()
	}
}

func TestSyncDirErrorReachesEveryCallerOfTheRound(t *testing.T) {
	d := &Disk{Hook: func(Step, string) error { return errInjected }}
	err := d.SyncDirs(t.TempDir(), t.TempDir(), t.TempDir())
	if n := strings.Count(fmt.Sprint(err), "injected"); n != 3 {
		t.Fatalf("%d errors in %v, want 3", n, err)
	}
}

func TestParallelPublishers(t *testing.T) {
	dir := t.TempDir()
	var d Disk
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			f, err := d.Create(filepath.Join(dir, fmt.Sprintf("t%d", i)), 0o600)
			if err != nil {
				t.Error(err)
				return
			}
			if err := f.Publish(filepath.Join(dir, fmt.Sprintf("f%d", i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, _ := filepath.Glob(filepath.Join(dir, "f*")); len(got) != 64 {
		t.Fatalf("%d files, want 64", len(got))
	}
}

func TestFinishKeepsTheNameOnlyWhenDurable(t *testing.T) {
	for _, fail := range []bool{false, true} {
		dir := t.TempDir()
		d := &Disk{Hook: func(s Step, _ string) error {
			if fail && s == StepSync {
				return errInjected
			}
			return nil
		}}
		f, err := d.Create(filepath.Join(dir, "tmp"), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Finish(); errors.Is(err, errInjected) != fail {
			t.Fatalf("error %v", err)
		}
		if _, err := os.Stat(filepath.Join(dir, "tmp")); os.IsNotExist(err) != fail {
			t.Fatalf("stat: %v", err)
		}
	}
}

func TestLinkCheckedKeepsTheFile(t *testing.T) {
	dir := t.TempDir()
	tmp, final := filepath.Join(dir, "tmp"), filepath.Join(dir, "final")
	var steps []string
	d := &Disk{Hook: record(&steps)}
	f, err := d.Create(tmp, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	if !f.Unnamed() {
		t.Error("a new file has another name")
	}
	if err := f.LinkChecked(final); err != nil {
		t.Fatal(err)
	}
	if want := []string{"create tmp", "link final", "fsync tmp"}; !slices.Equal(steps, want) {
		t.Errorf("steps %q, want %q", steps, want)
	}
	if f.Unnamed() {
		t.Error("it is free while it is published")
	}
	if err := f.LinkChecked(final); !errors.Is(err, os.ErrExist) {
		t.Errorf("error %v, want ErrExist", err)
	}
	reader, _ := os.Open(final)
	unix.Flock(int(reader.Fd()), unix.LOCK_EX)
	os.Remove(final)
	if f.Unnamed() {
		t.Error("it is free while somebody holds its lock")
	}
	reader.Close()
	if !f.Unnamed() {
		t.Error("it is not free although nobody has it")
	}
	d.Hook = func(s Step, _ string) error {
		if s == StepSync {
			return errInjected
		}
		return nil
	}
	if err := f.LinkChecked(final); !errors.Is(err, errInjected) {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left after a failed fsync: %v", left)
	}
}

func TestMkdirThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	d := &Disk{Hook: func(s Step, _ string) error {
		if s == StepSyncDir {
			return errInjected
		}
		return nil
	}}
	if err := d.Mkdir(filepath.Join(dir, "sub"), 0o700); !errors.Is(err, errInjected) {
		t.Fatalf("error %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Who takes the file between its rename and a flush that fails has it.
func TestPublishCheckedTellsThatTheFileWasTaken(t *testing.T) {
	dir := t.TempDir()
	final, taken := filepath.Join(dir, "final"), filepath.Join(dir, "taken")
	d := &Disk{Hook: func(s Step, _ string) error {
		if s != StepSync {
			return nil
		}
		os.Rename(final, taken)
		return errInjected
	}}
	f, _ := d.Create(filepath.Join(dir, "tmp"), 0o600)
	if err := f.PublishChecked(final); !errors.Is(err, ErrTaken) || !errors.Is(err, errInjected) {
		t.Fatalf("error %v", err)
	}
	if _, err := os.Stat(taken); err != nil {
		t.Error(err)
	}
}

// Sweep removes what ReplaceFile left when it was killed, and nothing else.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	d := &Disk{Hook: func(s Step, path string) error {
		if s == StepSync {
			os.Link(path, path+".kept") // as a kill at this step leaves the file
		}
		return nil
	}}
	if err := d.ReplaceFile(filepath.Join(dir, "users"), []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, ".users.*.kept"))
	if len(left) != 1 {
		t.Fatalf("left: %q", left)
	}
	junk := strings.TrimSuffix(left[0], ".kept")
	os.Rename(left[0], junk)
	os.WriteFile(filepath.Join(dir, "cache.7"), nil, 0o600)
	others := []string{"users", "cache", ".users.tmp", ".lock", "a.1.2.tmp", ".1.2.tmp"}
	for _, name := range others {
		os.WriteFile(filepath.Join(dir, name), nil, 0o600)
	}
	os.Mkdir(filepath.Join(dir, ".folder.1.2.tmp"), 0o700)
	others = append(others, ".folder.1.2.tmp")
	if err := Sweep(dir, regexp.MustCompile(`^cache\.[0-9]+$`), time.Now().Add(-SweepAge)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(junk); err != nil {
		t.Errorf("a young file is gone: %v", err)
	}
	if err := Sweep(dir, regexp.MustCompile(`^cache\.[0-9]+$`), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{junk, filepath.Join(dir, "cache.7")} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("an old file is still there: %v", err)
		}
	}
	for _, name := range others {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}
