// Command engineapp is the app of the engines' conformance suite, for images.
package main

import "github.com/springtide/springtide/internal/engine/enginetest"

func main() { enginetest.Main() }
