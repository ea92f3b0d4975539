package local

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
)

// disturb does to a component what a test asks for:
//
//	kill NAME    ends it without warning
//	start NAME   starts it again, as it was
//	pause NAME   has it stand still, as on a machine that hangs
//	resume NAME  has it go on
func (s *supervisor) disturb(text string) error {
	verb, name, _ := strings.Cut(text, " ")
	if verb == "start" && slices.Contains(componentNames, name) {
		return s.launch(name)
	}
	i := slices.IndexFunc(s.running, func(p *process) bool { return p.name == name })
	if i < 0 {
		return fmt.Errorf("%s: there is no such component", text)
	}
	signals := map[string]syscall.Signal{"kill": syscall.SIGKILL, "pause": syscall.SIGSTOP, "resume": syscall.SIGCONT}
	signal, ok := signals[verb]
	if !ok {
		return fmt.Errorf("%s: want kill, start, pause or resume", text)
	}
	p := s.running[i]
	if verb == "kill" {
		s.running = slices.Delete(s.running, i, i+1) // its end is no failure
	}
	if err := p.cmd.Process.Signal(signal); err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	if verb == "kill" {
		<-p.done
	}
	return nil
}
