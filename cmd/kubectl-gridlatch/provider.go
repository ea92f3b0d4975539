package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gridlatch/gridlatch/cmd/internal/version"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/fetch"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/render"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// maxSecretSize and maxCertificatesSize bound the files that the flags name, in bytes.
const (
	maxSecretSize       = 4 << 10
	maxCertificatesSize = 1 << 20
)

// providerHelp explains the flags of [providerFlags].
const providerHelp = `Providers (--provider), and where their zones and keys come from:
  energy-charts        --zone DE           most of Europe; no key
  uk-carbon-intensity  --zone GB           Great Britain, its regions 1 to 17, or RG10; no key
  energinet            --zone DK1          Denmark: DK1 and DK2; no key
  grid-carbon          --zone FR           a server of your own by --base-url; gridcarbon.dev has ended
  electricity-maps     --zone US-CAL-CISO  ELECTRICITY_MAPS_TOKEN has the key
  watttime             --zone CAISO_NORTH  WATTTIME_USER and WATTTIME_PASSWORD have the account
  carbon-aware-sdk     --base-url URL      your own WebApi; GRIDLATCH_KEY can have a key
  http                 --past-url URL      your own server; GRIDLATCH_KEY can have a key
  mock                 --zone DE           made up, for trying; any zone
Keys come from these environment variables, or from --key-file. Other users of the
machine can read arguments. Therefore no flag takes a key. The command asks through a
proxy if HTTPS_PROXY, HTTP_PROXY and NO_PROXY say so.`

// providerFlags say which zone of which provider is meant, and how to ask.
type providerFlags struct {
	name, zone, region         string
	baseURL                    string
	kind, emissionFactors      string
	forecastURL, pastURL       string
	keyFile, keyHeader, caFile string
}

// bind adds the flags.
func (f *providerFlags) bind(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.name, "provider", "", "who knows the grid: "+strings.Join(providerNames(), ", "))
	flags.StringVar(&f.zone, "zone", "", "zone as the provider names it, such as DE; see: kubectl gridlatch zones")
	flags.StringVar(&f.region, "region", "", "region of a cloud, such as eu-central-1, in place of --zone; without --provider,\na provider that needs no key")
	flags.StringVar(&f.kind, "kind", "", "intensity to ask for: average or marginal (default: the provider's)")
	flags.StringVar(&f.emissionFactors, "emission-factors", "", "emissions to count: life-cycle or direct (default: the provider's)")
	flags.StringVar(&f.baseURL, "base-url", "", "address of the provider, if you ask through a gateway or have a server of your own")
	flags.StringVar(&f.pastURL, "past-url", "", "provider http: URL of the past, with {zone}, {from} and {to}")
	flags.StringVar(&f.forecastURL, "forecast-url", "", "provider http: URL of the forecast, with {zone}")
	flags.StringVar(&f.keyFile, "key-file", "", "file with the key; for watttime, with USER:PASSWORD")
	flags.StringVar(&f.keyHeader, "key-header", "", "providers http and carbon-aware-sdk: header for the key (default: Authorization)")
	flags.StringVar(&f.caFile, "ca-file", "", "file with certificates to trust besides those of the system, in PEM")
	complete := func(flag string, offered ...string) {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(offered, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	}
	complete("provider", providerNames()...)
	complete("kind", "average", "marginal")
	complete("emission-factors", "life-cycle", "direct")
	_ = cmd.RegisterFlagCompletionFunc("region", completeRegions) // likewise
}

// names returns the names of the flags.
func (*providerFlags) names() []string {
	return []string{
		"provider", "zone", "region", "kind", "emission-factors", "base-url", "past-url", "forecast-url", "key-file", "key-header", "ca-file",
	}
}

// isAsked reports whether a provider is to be asked.
func (f *providerFlags) isAsked() bool { return f.name != "" || f.region != "" }

// checkUnused refuses flags that only a provider needs.
func (f *providerFlags) checkUnused(set *pflag.FlagSet) error {
	for _, name := range f.names() {
		if set.Changed(name) {
			return usageError{fmt.Errorf("--%s needs --provider: want one of %s", name, strings.Join(providerNames(), ", "))}
		}
	}
	return nil
}

// open returns the zone that is meant. It asks nobody. now is the clock of the provider.
func (f *providerFlags) open(e env, now func() time.Time) (fetch.Zone, error) {
	kind, zone, err := f.resolve()
	if err != nil {
		return fetch.Zone{}, err
	}
	config := provider.Config{
		Type: kind, BaseURL: f.baseURL, ForecastURL: f.forecastURL, PastURL: f.pastURL, KeyHeader: f.keyHeader,
		Options: provider.Options{Now: now, Sleep: e.sleep, UserAgent: version.Get().UserAgent(name)},
	}
	if config.Signal, err = f.signal(); err != nil {
		return fetch.Zone{}, err
	}
	if err := f.checkURLs(kind); err != nil {
		return fetch.Zone{}, err
	}
	if config.Credentials, err = f.credentials(e, kind); err != nil {
		return fetch.Zone{}, err
	}
	if f.caFile != "" {
		if config.Options.CA, err = readSmall(f.caFile, maxCertificatesSize); err != nil {
			return fetch.Zone{}, wrong("ca-file", f.caFile, err)
		}
	}
	p, err := provider.New(config)
	if err != nil {
		return fetch.Zone{}, usageError{fmt.Errorf("--provider %s: %w", nameOf(kind), err)}
	}
	return fetch.Zone{Provider: p, Name: zone}, nil
}

// signal reads the kind of intensity. Empty fields stand for the provider's default.
func (f *providerFlags) signal() (forecast.Signal, error) {
	kind, ok := map[string]forecast.Kind{"": "", "average": forecast.Average, "marginal": forecast.Marginal}[strings.ToLower(f.kind)]
	if !ok {
		return forecast.Signal{}, wrong("kind", f.kind, errors.New("want average or marginal"))
	}
	factors, ok := map[string]forecast.EmissionFactors{
		"": "", "life-cycle": forecast.LifeCycle, "lifecycle": forecast.LifeCycle, "direct": forecast.Direct,
	}[strings.ToLower(f.emissionFactors)]
	if !ok {
		return forecast.Signal{}, wrong("emission-factors", f.emissionFactors, errors.New("want life-cycle or direct"))
	}
	return forecast.Signal{Kind: kind, EmissionFactors: factors}, nil
}

// checkURLs refuses URLs that the provider would not use, and asks for those that it needs.
func (f *providerFlags) checkURLs(kind provider.Type) error {
	isHTTP := kind == provider.TypeHTTP
	for _, flag := range []struct {
		name, value string
		isFor       bool
		want        string
	}{
		{"past-url", f.pastURL, isHTTP, "want --provider http, or --base-url"},
		{"forecast-url", f.forecastURL, isHTTP, "want --provider http, or --base-url"},
		{"base-url", f.baseURL, !isHTTP && kind != provider.TypeMock, "want --past-url or --forecast-url for the provider http, and no URL for mock"},
		{"key-header", f.keyHeader, isHTTP || kind == provider.TypeCarbonAwareSDK, "want --provider http or carbon-aware-sdk"},
	} {
		if flag.value != "" && !flag.isFor {
			return usageError{fmt.Errorf("--%s is not for the provider %s: %s", flag.name, nameOf(kind), flag.want)}
		}
	}
	switch {
	case isHTTP && f.pastURL == "" && f.forecastURL == "":
		return usageError{errors.New("the provider http needs --past-url or --forecast-url, such as https://example.com/{zone}.csv")}
	case kind == provider.TypeCarbonAwareSDK && f.baseURL == "":
		return usageError{errors.New("the provider carbon-aware-sdk needs --base-url: want the address of your WebApi")}
	}
	return nil
}

// variables are the environment variables with the key of each provider.
func variables(kind provider.Type) string {
	switch kind {
	case provider.TypeElectricityMaps:
		return "ELECTRICITY_MAPS_TOKEN"
	case provider.TypeWattTime:
		return "WATTTIME_USER and WATTTIME_PASSWORD"
	case provider.TypeCarbonAwareSDK, provider.TypeHTTP:
		return "GRIDLATCH_KEY"
	}
	return ""
}

// credentials reads the key from a file, or from the environment.
func (f *providerFlags) credentials(e env, kind provider.Type) (provider.Credentials, error) {
	var file string
	if f.keyFile != "" {
		text, err := readSmall(f.keyFile, maxSecretSize)
		if err != nil {
			return provider.Credentials{}, wrong("key-file", f.keyFile, err)
		}
		file = strings.TrimSpace(string(text))
	}
	if kind == provider.TypeWattTime {
		return account(e, file)
	}
	c := provider.Credentials{Key: provider.NewSecret(cmp.Or(file, e.getenv(variables(kind))))}
	if c.Key.IsEmpty() && kind == provider.TypeElectricityMaps {
		return c, missingKey(kind, "the key")
	}
	return c, nil
}

// account reads the user and the password of WattTime.
func account(e env, file string) (provider.Credentials, error) {
	user, password := e.getenv("WATTTIME_USER"), e.getenv("WATTTIME_PASSWORD")
	if file != "" {
		user, password, _ = strings.Cut(file, ":")
	}
	c := provider.Credentials{User: provider.NewSecret(user), Password: provider.NewSecret(password)}
	if c.User.IsEmpty() || c.Password.IsEmpty() {
		return c, missingKey(provider.TypeWattTime, "USER:PASSWORD")
	}
	return c, nil
}

func missingKey(kind provider.Type, content string) error {
	return usageError{fmt.Errorf("the provider %s needs a key: set %s in the environment, or name a file with %s by --key-file", nameOf(kind), variables(kind), content)}
}

// explain adds to the error of a provider where the key has come from that is not accepted.
func (f *providerFlags) explain(err error, zone fetch.Zone) error {
	from := variables(zone.Provider.Describe().Type)
	if !errors.Is(err, provider.ErrRefusedKey) || from == "" {
		return err
	}
	if f.keyFile != "" {
		from = "--key-file " + f.keyFile
	}
	return fmt.Errorf("%w; look at %s", err, from)
}

// readSmall reads a file of at most so many bytes. The file may be a pipe.
func readSmall(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("want at most %d bytes", most)
	}
	return text, err
}

// telling returns a function that shows how far the fetching of a past is. Where requests are
// scarce, the pauses are explained at once.
func telling(on *render.Progress, zone fetch.Zone) func(fetch.Progress) {
	d := zone.Provider.Describe()
	if fetch.IsScarce(d.Limit) {
		on.ShowNow(fmt.Sprintf("fetching, and %s allows %s in %s", d.Source, render.Count(d.Limit.Requests, "request"), plan.FormatDuration(d.Limit.Per)))
	}
	return func(p fetch.Progress) {
		on.Describe(fmt.Sprintf("fetching from %s: %s since %s", d.Source, render.Count(p.Values, "value"), p.From.Format("Jan 2")))
		on.Share(p.Share)
	}
}
