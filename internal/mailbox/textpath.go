package mailbox

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"
)

// TextIndexPath returns where the text index of the account lives, below the
// Maildir or in the cache directory. It holds nothing that the mail does not.
func (a *Account) TextIndexPath() string {
	if dir := a.host.o.CacheDir; dir != "" {
		return filepath.Join(dir, fmt.Sprintf("%x", sha256.Sum256([]byte(a.root)))[:32]+".text")
	}
	return filepath.Join(a.root, "peyk-text")
}
