package authd

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/fsnotify/fsnotify"

	"peyk/internal/eventlog"
)

// watching tells followers when a table changes, by inotify. Where that cannot
// be had, or when it loses count, all of them look at everything again.
type watching struct {
	server  *Server
	control string // the control directory
	watcher *fsnotify.Watcher
}

// watch watches the tables until ctx ends. It has begun when watch returns.
func (s *Server) watch(ctx context.Context, controlDir string) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	w := &watching{server: s, control: controlDir, watcher: watcher}
	if err := w.begin(); err != nil {
		watcher.Close()
		return err
	}
	go w.run(ctx)
	return nil
}

func (w *watching) begin() error {
	if err := w.watcher.Add(w.control); err != nil {
		return err
	}
	return w.addDomains()
}

// addDomains watches the directory of domains and each of them. One that is
// watched already stays so.
func (w *watching) addDomains() error {
	domains := filepath.Join(w.control, "domains")
	if err := w.watcher.Add(domains); err != nil {
		if os.IsNotExist(err) {
			return nil
		}
		return err
	}
	entries, err := os.ReadDir(domains)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if err := w.watcher.Add(filepath.Join(domains, e.Name())); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return nil
}

func (w *watching) run(ctx context.Context) {
	defer w.watcher.Close()
	for {
		select {
		case e := <-w.watcher.Events:
			w.see(e.Name)
		case err := <-w.watcher.Errors:
			w.server.options.Log.Event(eventlog.Trouble, "reason", "cannot watch the tables", "error", err)
			w.all()
		case <-ctx.Done():
			return
		}
	}
}

// see looks at a name that has changed.
func (w *watching) see(path string) {
	dir, name := filepath.Split(filepath.Clean(path))
	dir = filepath.Clean(dir)
	switch {
	case strings.HasPrefix(name, "."):
	case filepath.Clean(dir) == filepath.Clean(w.control):
		if name == "access" || name == "domains" {
			w.all()
		}
	case filepath.Base(dir) == "domains":
		w.all() // a domain came or went
	case name == "users" || name == "app-passwords" || name == "second-factor" || name == "access":
		w.server.changes.tell(filepath.Base(dir))
	}
}

// all is a change of anything.
func (w *watching) all() {
	if err := w.addDomains(); err != nil {
		w.server.options.Log.Event(eventlog.Trouble, "reason", "cannot watch the tables", "error", err)
	}
	w.server.changes.tell("")
}
