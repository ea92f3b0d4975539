package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// enableColor asks a console of Windows to understand escape sequences, and reports whether the
// console does. Consoles before Windows Terminal print the sequences as text otherwise.
func enableColor(terminal *os.File) bool {
	console := windows.Handle(terminal.Fd())
	var mode uint32
	if err := windows.GetConsoleMode(console, &mode); err != nil {
		return false
	}
	return windows.SetConsoleMode(console, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
