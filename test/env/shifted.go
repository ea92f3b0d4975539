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

// clockShiftVariable is the variable of the environment that says by how many seconds the clock of
// a shifted program is ahead; below zero, the clock is behind.
const clockShiftVariable = "CLOCK_SHIFT_SECONDS"

// shiftOfClock is one more file of Go's package time.
const shiftOfClock = `package time

import "syscall"

// clockShift is added to every reading of the real clock.
var clockShift = readClockShift()

func readClockShift() int64 {
	text, _ := syscall.Getenv("` + clockShiftVariable + `")
	negative := len(text) > 0 && text[0] == '-'
	if negative {
		text = text[1:]
	}
	shift, err := atoi(text)
	if err != nil {
		return 0
	}
	if negative {
		return -int64(shift)
	}
	return int64(shift)
}
`

// BuildShifted builds the program with a package time whose clock can be shifted, and returns the
// path of the program. The source of Gridlatch is as it is: Go's compiler is given another package
// time. So all parts of the program see the shifted clock, and so do the libraries.
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
	overlay, err := writeOverlay(ctx, dir)
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
func writeOverlay(ctx context.Context, dir string) (string, error) {
	output, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("find Go's own source: %w", err)
	}
	source := filepath.Join(strings.TrimSpace(string(output)), "src", "time")
	text, err := os.ReadFile(filepath.Join(source, "time.go"))
	if err != nil {
		return "", fmt.Errorf("read Go's package time: %w", err)
	}
	const reading = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), reading) != 1 {
		return "", errors.New("shift the clock: time.Now of this version of Go is not as expected")
	}
	files := map[string]string{
		"time.go":  strings.Replace(string(text), reading, reading+"\tsec += clockShift\n", 1),
		"shift.go": shiftOfClock,
	}
	replace := map[string]string{}
	for name, content := range files {
		replace[filepath.Join(source, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return "", fmt.Errorf("write package time: %w", err)
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
