package env

import (
	"os/exec"
	"path/filepath"
	"testing"
)

func TestAProgramThatHasCrashedIsNotStoppedInSilence(t *testing.T) {
	t.Parallel()
	for script, isCrash := range map[string]bool{
		`printf 'panic: nil\n\ngoroutine 1 [running]:\n'; exit 2`: true,
		`echo 'unknown flag'; exit 2`:                             false,
		`printf '\ngoroutine 1\n'; exit 0`:                        false,
	} {
		p := &Program{name: "sh", cmd: exec.Command("sh", "-c", script), done: make(chan struct{})}
		if err := p.launch(filepath.Join(t.TempDir(), "log")); err != nil {
			t.Fatal(err)
		}
		<-p.done
		if err := p.Stop(); (err != nil) != isCrash {
			t.Errorf("%s: got the error %v, want one: %t", script, err, isCrash)
		}
	}
}
