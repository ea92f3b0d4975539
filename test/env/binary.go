package env

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// module is whose go.mod marks the top of the source tree.
const module = "github.com/gridlatch/gridlatch"

// findBinary gives the path of gridlatch-cluster: $GRIDLATCH_CLUSTER_BIN, or bin/gridlatch-cluster in the source tree.
func findBinary() (string, error) {
	path := os.Getenv("GRIDLATCH_CLUSTER_BIN")
	if path == "" {
		top, err := sourceTree()
		if err != nil {
			return "", err
		}
		path = filepath.Join(top, "bin", "gridlatch-cluster")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find gridlatch-cluster: %w", err)
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find gridlatch-cluster: %w; run: make bin/gridlatch-cluster", err)
	}
	return path, nil
}

// sourceTree walks up from the working directory to the module's go.mod.
func sourceTree() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the source tree: %w", err)
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module "+module+"\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("find the source tree: not inside " + module + "; set GRIDLATCH_CLUSTER_BIN")
		}
		dir = parent
	}
}
