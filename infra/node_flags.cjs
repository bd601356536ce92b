// Flags of the Node that jsii starts (infra/__init__.py requires this file by NODE_OPTIONS, which takes them not).
//
// CDK's template validation is 9 MB of WebAssembly that runs for about a second. By default V8 recompiles with
// its optimizing compiler whatever has executed 13 MB of it, on every core there is, and the process ends before
// that pays: ten times the budget leaves out what it would not get back.
require('node:v8').setFlagsFromString('--wasm-tiering-budget=130000000')
