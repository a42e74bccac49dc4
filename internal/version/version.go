// Package version names this release of Peyk.
//
// The number stands in the source, so that a build from a tarball, without
// git, says the right thing; a packager may stamp a longer one with
//
//	go build -ldflags '-X peyk/internal/version.Version=0.1.0-1debian'
package version

// Version is the release, as in CHANGES.md: MAJOR.MINOR.PATCH, and whatever a
// packager appends. It is set at build time and never written afterwards.
var Version = "0.1.0"
