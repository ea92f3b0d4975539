package env

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory reads one of the figures of Linux on the program's memory, in MiB: VmRSS is what is resident, and VmHWM the
// most that ever was.
func (p *Program) Memory(name string) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	if err != nil {
		return 0, fmt.Errorf("read memory: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("read memory: no %s", name)
}
