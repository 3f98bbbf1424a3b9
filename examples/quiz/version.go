package main

// Version is shown in the footer of every page and by /version.
const Version = "1"
