package provider

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// Config says which provider to ask, and how.
type Config struct {
	Type Type
	// BaseURL is where the provider is, if not at its public address: a gateway, or a server of one's
	// own.
	BaseURL     string
	Credentials Credentials
	// Signal is the kind of intensity to ask for, or what a CarbonAwareSDK or an HTTP server has.
	// Empty fields stand for the provider's default.
	Signal forecast.Signal
	// ForecastURL and PastURL are for [TypeHTTP]; one of them is enough. {zone}, {from} and {to}
	// stand for the zone and for the two instants of the past.
	ForecastURL, PastURL string
	// KeyHeader is the header for the key of [TypeHTTP] and [TypeCarbonAwareSDK]. The default is
	// Authorization, with the key as a bearer token.
	KeyHeader string
	// Attribution is what the licence of an HTTP server's data demands.
	Attribution string

	Options Options
}

// Options tell how to ask.
type Options struct {
	// Now is the clock. It must be set.
	Now func() time.Time
	// Sleep waits, or returns the context's error. The default waits in real time.
	Sleep func(ctx context.Context, d time.Duration) error
	// Jitter returns a random number in [0, 1) for the time between two attempts.
	Jitter func() float64
	// UserAgent says who asks.
	UserAgent string
	// CA has certificates in PEM to trust besides those of the system.
	CA []byte
	// Timeout bounds one attempt, from the connection to the last byte. The default is 30 seconds.
	Timeout time.Duration
	// Observe is told of every attempt, if it is set.
	Observe func(Attempt)
	// Paces are shared by all that ask the same public servers. Without Paces, each asks as often as if no
	// other did.
	Paces *Paces
}

// New makes the provider that a configuration describes. It asks nobody.
func New(c Config) (Provider, error) {
	makers := map[Type]func(Config) (Provider, error){
		TypeElectricityMaps:   newElectricityMaps,
		TypeWattTime:          newWattTime,
		TypeUKCarbonIntensity: newUKCarbonIntensity,
		TypeEnergyCharts:      newEnergyCharts,
		TypeEnerginet:         newEnerginet,
		TypeGridCarbon:        newGridCarbon,
		TypeCarbonAwareSDK:    newCarbonAwareSDK,
		TypeHTTP:              newHTTP,
		TypeMock:              newMock,
	}
	makeProvider, ok := makers[c.Type]
	if !ok {
		return nil, fmt.Errorf("type: %.40q: want ElectricityMaps, WattTime, UKCarbonIntensity, EnergyCharts, Energinet, GridCarbon, CarbonAwareSDK, HTTP or Mock", c.Type)
	}
	if c.Options.Now == nil {
		return nil, errors.New("options: want a clock")
	}
	p, err := makeProvider(c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Type, err)
	}
	return p, nil
}

// ownLimit is for servers that state no limit.
func ownLimit() Limit { return Limit{Requests: 60, Per: time.Minute} }

// baseURL returns where the provider is, without a slash at the end.
func (c Config) baseURL(public string) (string, error) {
	base := c.BaseURL
	if base == "" {
		base = public
	}
	if strings.ContainsAny(base, "?#") {
		return "", errors.New("baseURL: has a query: want the address only, such as https://example.com/path")
	}
	return strings.TrimRight(base, "/"), checkURL("baseURL", base)
}

// checkURL returns an error that does not show the URL, since a URL may have a key.
func checkURL(name, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%s: want a URL such as https://example.com/path", name)
	}
	if u.User != nil {
		return fmt.Errorf("%s: has a user or a password: want them in the Secret", name)
	}
	return nil
}

// signal returns the wanted signal, with the provider's default for what is not stated, or an error
// if the provider does not have it.
func (c Config) signal(has ...forecast.Signal) (forecast.Signal, error) {
	for _, s := range has {
		if (c.Signal.Kind == "" || c.Signal.Kind == s.Kind) && (c.Signal.EmissionFactors == "" || c.Signal.EmissionFactors == s.EmissionFactors) {
			return s, nil
		}
	}
	return forecast.Signal{}, fmt.Errorf("signal: %s: want one of %q", c.Signal, has)
}
