package env

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// clockShiftVariable is the variable of the environment that says by how much the clock of a
// shifted program is ahead, as in 5m; below zero, the clock is behind.
const clockShiftVariable = "CLOCK_SHIFT"

// shiftedClock is one more file of a package, whose name comes first.
const shiftedClock = `package %s

import (
	"os"
	"time"
)

type shiftedClock struct{}

func (shiftedClock) Now() time.Time {
	shift, _ := time.ParseDuration(os.Getenv("` + clockShiftVariable + `"))
	return time.Now().Add(shift)
}
`

// clockUse is a file in which Gridlatch takes the time from the machine, and what takes its place.
type clockUse struct {
	path, packageName string
	changes           [][2]string
}

// clockUses are all of them. A build with another package time would shift the clock of the libraries,
// too, but would compile all of them anew.
func clockUses() []clockUse {
	return []clockUse{
		{"cmd/gridlatch/main.go", "main", [][2]string{{"clock.RealClock{}", "shiftedClock{}"}, {"\t\"k8s.io/utils/clock\"\n", ""}}},
		{"certs/source.go", "certs", [][2]string{{"now: time.Now}", "now: shiftedClock{}.Now}"}}},
	}
}

// BuildShifted builds the program with a clock that can be shifted, and returns the path of the
// program. The source is as it is: Go's compiler is given other files in its place.
func BuildShifted(ctx context.Context) (string, error) {
	root, err := sourceTree()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "gridlatch-shifted-")
	if err != nil {
		return "", fmt.Errorf("make a directory: %w", err)
	}
	defer os.RemoveAll(dir)
	overlay, err := writeOverlay(root, dir)
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "bin", "gridlatch-shifted")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-overlay="+overlay, "-o", path, "./cmd/gridlatch")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the program with a shifted clock: %w: %s", err, output)
	}
	return path, nil
}

// writeOverlay writes what go build -overlay reads, and returns its path.
func writeOverlay(root, dir string) (string, error) {
	replace := map[string]string{}
	write := func(path, content string) error {
		replacement := filepath.Join(dir, fmt.Sprintf("%d.go", len(replace)))
		replace[filepath.Join(root, path)] = replacement
		return os.WriteFile(replacement, []byte(content), 0o600)
	}
	for _, use := range clockUses() {
		source, err := os.ReadFile(filepath.Join(root, use.path))
		if err != nil {
			return "", fmt.Errorf("shift the clock: %w", err)
		}
		text := string(source)
		for _, change := range use.changes {
			if strings.Count(text, change[0]) != 1 {
				return "", fmt.Errorf("shift the clock: want %q once in %s", change[0], use.path)
			}
			text = strings.Replace(text, change[0], change[1], 1)
		}
		beside := filepath.Join(filepath.Dir(use.path), "shifted.go")
		if err := errors.Join(write(use.path, text), write(beside, fmt.Sprintf(shiftedClock, use.packageName))); err != nil {
			return "", fmt.Errorf("shift the clock: %w", err)
		}
	}
	encoded, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("write the overlay: %w", err)
	}
	path := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, encoded, 0o600); err != nil {
		return "", fmt.Errorf("write the overlay: %w", err)
	}
	return path, nil
}
