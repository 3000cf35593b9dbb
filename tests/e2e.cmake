# The pages in a real browser.  `npm ci` in tests/e2e comes first; tests/run.sh does it.
add_test(NAME e2e/pages COMMAND /usr/bin/node ${CMAKE_CURRENT_LIST_DIR}/e2e/pages.mjs
                                ${CMAKE_BINARY_DIR}/e2e-pictures)
set_tests_properties(e2e/pages PROPERTIES LABELS e2e TIMEOUT 600 COST 200
                     ENVIRONMENT "DENGWEN_BIN=${CMAKE_BINARY_DIR}/bin")
