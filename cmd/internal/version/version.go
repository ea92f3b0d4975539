// Package version says which version of Gridlatch a command is, and from which commit and by which Go
// the command was built. `make` passes the version and the commit to the linker. Where the commands
// are built without make, as by `go install`, Go itself has recorded both.
package version

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// homepage tells a server who asks.
const homepage = "https://github.com/gridlatch/gridlatch"

// develVersion is the version of what was built from no release.
const develVersion = "dev"

// The Makefile sets the variables by -ldflags -X.
//
//nolint:gochecknoglobals // the linker can set nothing but variables
var version, commit string

// Build is where a command comes from.
type Build struct {
	// Version is the version of Gridlatch, such as v1.2.3, or dev.
	Version string `json:"version"`
	// Commit is the hash of the commit, with the ending -dirty if files were changed after the
	// commit. Commit is empty if nobody knows the commit.
	Commit string `json:"commit,omitempty"`
	// Go is the version of the Go compiler, such as go1.26.8.
	Go string `json:"goVersion"`
	// Platform is the operating system and the processor, such as linux/amd64.
	Platform string `json:"platform"`
}

// Get returns where this command comes from.
func Get() Build {
	info, _ := debug.ReadBuildInfo()
	return newBuild(version, commit, info)
}

// newBuild fills in what the linker was not told. info may be nil.
func newBuild(version, commit string, info *debug.BuildInfo) Build {
	b := Build{Version: version, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info == nil {
		info = &debug.BuildInfo{}
	}
	if b.Version == "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	b.Version = cmp.Or(b.Version, develVersion)
	if b.Commit == "" {
		b.Commit = recordedCommit(info)
	}
	return b
}

// recordedCommit returns the commit that Go has recorded.
func recordedCommit(info *debug.BuildInfo) string {
	recorded := map[string]string{}
	for _, setting := range info.Settings {
		recorded[setting.Key] = setting.Value
	}
	commit := recorded["vcs.revision"]
	if commit != "" && recorded["vcs.modified"] == "true" {
		commit += "-dirty"
	}
	return commit
}

// String returns one line for people.
func (b Build) String() string {
	return fmt.Sprintf("%s (commit %s, %s, %s)", b.Version, cmp.Or(b.Commit, "unknown"), b.Go, b.Platform)
}

// UserAgent returns what a command of this name tells the servers that the command asks. The text
// begins with the name: the API server takes the name for the field manager.
func (b Build) UserAgent(name string) string {
	return name + "/" + b.Version + " (+" + homepage + ")"
}
