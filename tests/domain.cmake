dw_test(calendar unit dw_domain)
dw_test(rule unit dw_domain)
dw_test(catalogue unit dw_domain)
dw_test(route unit dw_domain)
dw_test(filing unit dw_domain)
dw_test(filing_out unit dw_domain)
dw_test(filing_noise unit dw_domain)
dw_test(phone unit dw_domain)
dw_test(reference unit dw_domain)
add_test(NAME unit/due_tool COMMAND ${CMAKE_CURRENT_LIST_DIR}/unit/test_due_tool.sh
                                    $<TARGET_FILE:dengwen-due> $<TARGET_FILE:dengwen-route>
                                    ${CMAKE_SOURCE_DIR}/conf)
set_tests_properties(unit/due_tool PROPERTIES LABELS unit TIMEOUT 300)
