package authd

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"peyk/internal/eventlog"
)

// secretSize is the length of the secret, in octets.
const secretSize = 32

// secret returns what makes up the salts of accounts that do not exist. It is
// kept, because a salt that changes with a restart would give them away.
func secret(dir string, o Options) []byte {
	path := filepath.Join(dir, "salt-secret")
	b, err := os.ReadFile(path)
	if err == nil && len(b) == secretSize {
		return b
	}
	b = make([]byte, secretSize)
	rand.Read(b) // does not fail: crypto/rand crashes the process instead
	if o.Disk == nil {
		return b
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = o.Disk.ReplaceFile(path, b, 0o600)
	}
	if err != nil {
		o.Log.Event(eventlog.Trouble, "reason", "auth-state", "error", err)
	}
	return b
}
