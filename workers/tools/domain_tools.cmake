# Questions to the data of the domain: no keys, no store, no network.
foreach(tool IN ITEMS due route)
  add_executable(dengwen-${tool} ${tool}_main.c tool_data.c)
  target_link_libraries(dengwen-${tool} PRIVATE dw_domain)
  install(TARGETS dengwen-${tool} RUNTIME DESTINATION ${DW_LIBEXEC})
endforeach()
