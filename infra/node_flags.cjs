// Flags of the Node that jsii starts: infra/__init__.py has NODE_OPTIONS require this file, as it takes no such flag.
//
// CDK's template validation is 9 MB of WebAssembly that runs for about a second. V8 optimizes in the background
// what has executed 13 MB of it, and the process ends before that pays: ten times the budget saves 5 to 12 % of
// a synthesis's CPU seconds (python -m bench.synth).
require('node:v8').setFlagsFromString('--wasm-tiering-budget=130000000')
