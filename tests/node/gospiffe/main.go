// Gospiffe is go-spiffe on a Workload API socket, for tests: it answers each word on standard input
// with a line of JSON.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/svid/jwtsvid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(socket string) error {
	ctx := context.Background()
	options := workloadapi.WithClientOptions(workloadapi.WithAddr(socket))
	certificates, err := workloadapi.NewX509Source(ctx, options)
	if err != nil {
		return err
	}
	defer certificates.Close()
	tokens, err := workloadapi.NewJWTSource(ctx, options)
	if err != nil {
		return err
	}
	defer tokens.Close()

	answers := map[string]func() (any, error){
		"svid": func() (any, error) {
			svid, err := certificates.GetX509SVID()
			if err != nil {
				return nil, err
			}
			serial := svid.Certificates[0].SerialNumber
			return map[string]string{"id": svid.ID.String(), "serial": fmt.Sprintf("%x", serial)}, nil
		},
		"jwt": func() (any, error) {
			svid, err := tokens.FetchJWTSVID(ctx, jwtsvid.Params{Audience: "erp"})
			if err != nil {
				return nil, err
			}
			checked, err := jwtsvid.ParseAndValidate(svid.Marshal(), tokens, []string{"erp"})
			if err != nil {
				return nil, err
			}
			return map[string]any{"id": checked.ID.String(), "audience": checked.Audience}, nil
		},
		"fresh": func() (any, error) {
			short, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			svid, err := workloadapi.FetchX509SVID(short, workloadapi.WithAddr(socket))
			if err != nil {
				return nil, err
			}
			return svid.ID.String(), nil
		},
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		line := map[string]any{}
		if answer, err := answers[lines.Text()](); err != nil {
			line["error"] = err.Error()
		} else {
			line["ok"] = answer
		}
		if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
			return err
		}
	}
	return lines.Err()
}
